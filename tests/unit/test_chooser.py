from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest

from weighbridge import Decision, Facts, Lane
from weighbridge.appointed import Appointed
from weighbridge.arguments import ArgumentCodec
from weighbridge.call import CallOptions
from weighbridge.chooser import Chooser
from weighbridge.decision import BrokerReading, InProcessReading, LoopReading
from weighbridge.errors import ArgumentError, BrokerNotConfiguredError, DeclarationError, NotOpenError, OptionError
from weighbridge.policy import load_policy
from weighbridge.settings import ArgumentsCheck
from weighbridge.task import OnUnavailable, Registry, TaskSpec

QUEUED = Decision(lane=Lane.QUEUE, reason="the policy says so", rule="always")
STAYS = Decision(lane=Lane.IN_PROCESS, reason="the policy says so", rule="always")


@dataclass
class Recorder:
    """A policy that keeps the facts it was asked about."""

    answer: Decision
    reads: frozenset[str] | None = None
    asked: list[Facts] = field(default_factory=list)

    def decide(self, facts: Facts, /) -> Decision:
        self.asked.append(facts)
        return self.answer


class Load:
    """Readings that count how often they are read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def in_process(self, *, ahead: int = 0) -> InProcessReading:
        self.read.append("in_process")
        return InProcessReading(waiting=7)

    def loop(self) -> LoopReading:
        self.read.append("loop")
        return LoopReading(lag_ms=12.5)

    def broker(self, queue: str) -> BrokerReading:
        self.read.append(f"broker {queue}")
        return BrokerReading(waiting=3)


class AnyQueue:
    """A queue that can do whatever it is asked for."""

    refuses = False

    def check(self, spec: TaskSpec, options: CallOptions) -> None: ...

    def note_ran_here(self, calls: int) -> None: ...


def report(rows: list[int]) -> None: ...


def declared(func: Callable[..., Any] = report, **options: Any) -> tuple[Registry, TaskSpec]:
    registry = Registry()
    spec = TaskSpec(
        name="app.report", func=func, is_async=False, codec=ArgumentCodec(func, task="app.report"), **options
    )
    registry.add(spec)
    return registry, spec


def test_a_policy_sees_the_call_and_the_load() -> None:
    registry, spec = declared(weight=lambda rows: len(rows) / 2, queue="reports", priority=4, tags=("slow",))
    policy, load = Recorder(STAYS), Load()

    Chooser(registry=registry, policy=policy, readings=load).choose(spec.func, ([1, 2, 3],))

    (facts,) = policy.asked
    assert (facts.name, facts.weight, facts.queue, facts.priority) == ("app.report", 1.5, "reports", 4)
    assert (facts.tags, facts.is_async, facts.payload_bytes) == (("slow",), False, len("[[[1,2,3]],{}]"))
    assert (facts.in_process.waiting, facts.loop.lag_ms, facts.broker.waiting) == (7, 12.5, 3)
    assert load.read == ["in_process", "loop", "broker reports"]


def test_only_what_the_policy_reads_is_read() -> None:
    registry, spec = declared()
    policy, load = Recorder(STAYS, reads=frozenset({"weight", "in_process.waiting"})), Load()

    Chooser(registry=registry, policy=policy, readings=load).choose(spec.func, ([],))

    assert load.read == ["in_process"]
    assert policy.asked[0].payload_bytes is None


def test_the_payload_of_arguments_that_cannot_be_encoded_is_unknown_to_the_policy() -> None:
    registry, spec = declared()
    policy = Recorder(STAYS)

    choice = Chooser(registry=registry, policy=policy).choose(spec.func, (["no number"],))

    assert policy.asked[0].payload_bytes is None
    assert choice.decision == STAYS


def test_a_queued_call_is_encoded_and_one_that_stays_is_not() -> None:
    registry, spec = declared()

    queued = Chooser(registry=registry, policy=Recorder(QUEUED), queue=AnyQueue()).choose(spec.func, ([1],))
    stays = Chooser(registry=registry, policy=Recorder(STAYS), queue=AnyQueue()).choose(spec.func, ([1],))

    assert queued.payload == ([[1]], {})
    assert stays.payload is None


def test_what_the_queue_cannot_do_is_refused_before_the_call_is_made() -> None:
    class NoExpiry(AnyQueue):
        def check(self, spec: TaskSpec, options: CallOptions) -> None:
            if options.expires_s is not None:
                raise OptionError(task=spec.name, problem="cannot expire", remedy="let it wait")

    registry, spec = declared()
    queued = Chooser(registry=registry, policy=Recorder(QUEUED), queue=NoExpiry())
    stays = Chooser(registry=registry, policy=Recorder(STAYS), queue=NoExpiry())

    with pytest.raises(OptionError, match="cannot expire"):
        queued.choose(spec.func, ([1],), options=CallOptions(expires_s=5))
    assert stays.choose(spec.func, ([1],), options=CallOptions(expires_s=5)).options.expires_s == 5
    assert queued.explain(spec.func, ([1],), {}) == QUEUED


def test_a_weight_of_the_call_takes_the_place_of_the_declared_one() -> None:
    registry, spec = declared(weight=100.0)
    policy = Recorder(STAYS)

    choice = Chooser(registry=registry, policy=policy).choose(spec.func, ([],), options=CallOptions(weight=2.0))

    assert (choice.weight, policy.asked[0].weight) == (2.0, 2.0)


def test_a_decision_for_the_queue_without_a_broker_raises_and_does_not_slip_into_the_process() -> None:
    registry, spec = declared()

    with pytest.raises(BrokerNotConfiguredError, match=r"'app.report' must be queued \(the policy says so\)"):
        Chooser(registry=registry, policy=Recorder(QUEUED)).choose(spec.func, ([],))
    with pytest.raises(NotOpenError, match="no dispatcher is open"):
        Chooser(registry=registry, policy=None).choose(spec.func, ([],), options=CallOptions(lane=Lane.QUEUE))


def test_explaining_needs_no_queue_and_accepts_nothing() -> None:
    registry, spec = declared()

    assert Chooser(registry=registry, policy=Recorder(QUEUED)).explain(spec.func, ([],), {}) == QUEUED


def test_arguments_that_would_not_cross_are_reported_without_their_values(caplog: pytest.LogCaptureFixture) -> None:
    registry, spec = declared()
    chooser = Chooser(registry=registry, policy=Recorder(STAYS), arguments_check=ArgumentsCheck.WARN)

    with caplog.at_level(logging.WARNING):
        chooser.choose(spec.func, (["hunter2"],))

    assert "chooser.arguments_would_not_cross task=app.report argument=rows" in caplog.text
    assert "hunter2" not in caplog.text


def test_arguments_that_would_not_cross_are_refused_by_the_strict_check() -> None:
    registry, spec = declared()
    chooser = Chooser(registry=registry, policy=Recorder(STAYS), arguments_check=ArgumentsCheck.STRICT)

    with pytest.raises(ArgumentError, match=r"argument .rows\[0\]. is a str"):
        chooser.choose(spec.func, (["no number"],))


def test_arguments_of_a_task_that_can_only_stay_are_not_checked() -> None:
    registry, spec = declared(shares_memory=True)
    chooser = Chooser(registry=registry, policy=Recorder(STAYS), arguments_check=ArgumentsCheck.STRICT)

    assert chooser.choose(spec.func, (["no number"],)).decision.rule == "shares_memory"


def test_another_policy_decides_from_the_next_call_on() -> None:
    registry, spec = declared()
    chooser = Chooser(registry=registry, policy=Recorder(STAYS), queue=AnyQueue())
    before = chooser.choose(spec.func, ([],)).decision

    chooser.use(Recorder(QUEUED))

    assert (before, chooser.choose(spec.func, ([],)).decision) == (STAYS, QUEUED)


def test_a_policy_that_is_set_meanwhile_is_asked_with_what_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is chosen on another thread after each line of ``use``, wherever that can be interrupted."""
    registry, spec = declared()
    first = Recorder(STAYS, reads=frozenset({"weight"}))
    second = Recorder(STAYS, reads=frozenset({"in_process.waiting", "loop.lag_ms", "broker.waiting"}))
    chooser, interruptions = Chooser(registry=registry, policy=first, readings=Load()), 0

    def interrupt(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        nonlocal interruptions
        if event == "line" and frame.f_code in (Chooser.use.__code__, Appointed.__init__.__code__):
            thread = threading.Thread(target=chooser.explain, args=(spec.func, ([],), {}))
            thread.start()
            thread.join()
            interruptions += 1
        return interrupt

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        chooser.use(second)
    finally:
        sys.settrace(before)
    chooser.explain(spec.func, ([],), {})

    assert interruptions > 1
    assert {(each.in_process.waiting, each.loop.lag_ms, each.broker.waiting) for each in second.asked} == {(7, 12.5, 3)}
    assert {(each.in_process.waiting, each.loop.lag_ms) for each in first.asked} == {(0, None)}


def test_a_function_declared_after_its_first_call_is_seen_as_declared() -> None:
    registry = Registry()
    chooser = Chooser(registry=registry, policy=Recorder(QUEUED), queue=AnyQueue())
    before = chooser.choose(report, ([],)).decision

    registry.add(
        TaskSpec(name="app.report", func=report, is_async=False, codec=ArgumentCodec(report, task="app.report"))
    )

    assert (before.rule, chooser.choose(report, ([],)).decision) == ("cannot_cross", QUEUED)


def test_a_wrapper_whose_function_is_declared_after_its_first_call_is_refused_from_then_on() -> None:
    @functools.wraps(report)
    def wrapper(rows: list[int]) -> None: ...

    registry = Registry()
    chooser = Chooser(registry=registry, policy=Recorder(QUEUED), queue=AnyQueue())
    assert chooser.choose(wrapper, ([],)).decision.lane is Lane.IN_PROCESS

    registry.add(
        TaskSpec(name="app.report", func=report, is_async=False, codec=ArgumentCodec(report, task="app.report"))
    )

    with pytest.raises(DeclarationError, match="topmost decorator"):
        chooser.choose(wrapper, ([],))


def test_an_explanation_of_a_call_that_stays_while_the_broker_is_away_says_what_the_policy_said() -> None:
    class Away(AnyQueue):
        refuses = True

    registry, spec = declared(weight=1.0, on_unavailable=OnUnavailable.RUN_HERE)
    chooser = Chooser(registry=registry, policy=load_policy("durability-first"), queue=Away())

    told = chooser.explain(spec.func, ([],), {})

    assert (told.lane, told.rule) == (Lane.IN_PROCESS, "on_unavailable")
    assert told.instead_of is not None
    assert (told.instead_of.lane, told.instead_of.rule) == (Lane.QUEUE, "otherwise")
    first, _, rest = str(told).partition("\n\nThe policy said:\n")
    assert first == "in_process: the queue is not available, and on_unavailable='run_here'"
    assert rest == str(told.instead_of)
    assert "2. [otherwise]: queue" in rest


def test_the_facts_of_an_explanation_are_those_of_the_declaration_under_a_constraint_too() -> None:
    registry, spec = declared(weight=3.0, shares_memory=True, queue="billing", tags=("money",), priority=2)

    told = Chooser(registry=registry, policy=Recorder(QUEUED)).explain(spec.func, ([],), {})

    assert (told.facts.queue, told.facts.tags, told.facts.priority, told.facts.weight) == ("billing", ("money",), 2, 3)
