from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from weighbridge import Decision, Facts, Lane
from weighbridge.appointed import Appointed
from weighbridge.arguments import ArgumentCodec
from weighbridge.chooser import Chooser
from weighbridge.decision import BrokerReading, InProcessReading, LoopReading
from weighbridge.policy import Policy, load_policy, parse_policy
from weighbridge.shadow import ShadowCount, ShadowCounter
from weighbridge.task import OnUnavailable, Registry, TaskSpec


def report(rows: list[int]) -> None: ...


def warm() -> None: ...


def registered(**options: Any) -> tuple[Registry, TaskSpec]:
    registry = Registry()
    codec = ArgumentCodec(report, task="app.report")
    spec = TaskSpec(name="app.report", func=report, is_async=False, codec=codec, **options)
    registry.add(spec)
    return registry, spec


class Busy:
    """Readings of a process in which calls wait."""

    def in_process(self, *, ahead: int = 0) -> InProcessReading:
        return InProcessReading(waiting=20 + ahead, threads_free=0)

    def loop(self) -> LoopReading:
        return LoopReading()

    def broker(self, queue: str) -> BrokerReading:
        return BrokerReading()


class Broken:
    """A policy that looks right and then fails."""

    def decide(self, facts: Facts, /) -> Decision:
        if facts.name == "app.report":
            raise ZeroDivisionError
        return Decision(Lane.QUEUE, "r", "r")


class BrokenWithDefault(Broken):
    default_lane = Lane.QUEUE


class Shrinks:
    """A policy in code that looks at the size of the arguments."""

    reads = frozenset({"payload_bytes"})

    def decide(self, facts: Facts, /) -> Decision:
        return Decision(Lane.QUEUE if facts.payload_bytes else Lane.IN_PROCESS, "by size", "size")


class Always:
    """A policy in code that does not say what it reads."""

    def decide(self, facts: Facts, /) -> Decision:
        return Decision(Lane.QUEUE, "always", "always")


def chooser(registry: Registry, shadow: ShadowCounter, *, policy: str = "by-weight") -> Chooser:
    return Chooser(registry=registry, policy=load_policy(policy), readings=Busy(), shadow=shadow)


def test_what_it_would_have_decided_is_counted_by_task_and_rule_and_never_obeyed() -> None:
    registry, spec = registered(weight=1.0)
    shadow = ShadowCounter(load_policy("spill-over"))

    calls = [chooser(registry, shadow).choose(spec.func, ([1],)) for _ in range(3)]

    assert {call.decision.lane for call in calls} == {Lane.IN_PROCESS}
    (count,) = shadow.counts
    assert count == ShadowCount(
        "app.report",
        calls[0].decision.revision,
        "otherwise",
        Lane.IN_PROCESS,
        "spill over while this process is busy",
        Lane.QUEUE,
        True,
        3,
    )
    assert count.diverges


def test_an_answer_that_looks_at_the_declaration_alone_does_not_depend_on_load() -> None:
    registry, spec = registered(weight=1.0)
    shadow = ShadowCounter(load_policy("all-queued"))

    chooser(registry, shadow).choose(spec.func, ([1],))

    assert [(count.by_load, count.diverges, count.calls) for count in shadow.counts] == [(False, True, 1)]


def test_a_call_that_no_policy_decides_is_not_compared() -> None:
    registry, _ = registered(weight=1.0)
    shadow = ShadowCounter(load_policy("all-queued"))

    chooser(registry, shadow).choose(warm)

    assert shadow.counts == ()


def test_explaining_counts_nothing() -> None:
    registry, spec = registered(weight=1.0)
    shadow = ShadowCounter(load_policy("all-queued"))

    chooser(registry, shadow).explain(spec.func, ([1],), {})

    assert shadow.counts == ()


#: A rule over the declaration and the arguments, then one over load.
IN_TURN = """
schema = 1
[[rule]]
name = "heavy or large"
when = "weight >= 50 or payload_bytes > 100"
lane = "queue"
[[rule]]
name = "many wait"
when = "in_process.waiting >= 8 and weight >= 1"
lane = "queue"
[otherwise]
lane = "in_process"
"""


@pytest.mark.parametrize(
    ("weight", "rows", "by_load"),
    [(60.0, [1], False), (1.0, [1] * 100, False), (1.0, [1], True), (0.0, [1], True)],
    ids=["a weight that is computed", "large arguments", "the rule over load", "after the rule over load"],
)
def test_an_answer_depends_on_load_if_a_rule_up_to_the_deciding_one_reads_it(
    weight: float, rows: list[int], by_load: bool
) -> None:
    registry, declared = registered(weight=lambda rows: weight)
    shadow = ShadowCounter(parse_policy(IN_TURN, name="ours", source="ours.toml"))

    chooser(registry, shadow, policy="all-in-process").choose(declared.func, (rows,))

    assert [count.by_load for count in shadow.counts] == [by_load]


def test_a_policy_in_code_may_have_looked_at_load_unless_it_says_that_it_does_not() -> None:
    registry, spec = registered(weight=1.0)
    for policy, by_load in ((Shrinks(), False), (Always(), True)):
        shadow = ShadowCounter(policy)
        chooser(registry, shadow).choose(spec.func, ([1],))
        assert [count.by_load for count in shadow.counts] == [by_load]


def test_a_call_that_runs_here_since_the_queue_is_away_is_not_compared() -> None:
    class Away:
        refuses = True
        ran_here = 0

        def note_ran_here(self, calls: int) -> None:
            self.ran_here += calls

    registry, spec = registered(weight=1.0, on_unavailable=OnUnavailable.RUN_HERE)
    shadow, queue = ShadowCounter(load_policy("all-in-process")), Away()
    away: Any = queue
    choosing = Chooser(registry=registry, policy=load_policy("all-queued"), queue=away, shadow=shadow)

    assert choosing.choose(spec.func, ([1],)).decision.lane is Lane.IN_PROCESS

    assert (shadow.counts, queue.ran_here) == ((), 1)


@pytest.mark.parametrize("rule", [["no text"], {}, None, 3, b"bytes"])
def test_a_rule_that_is_no_text_is_a_failure_of_the_shadow(rule: Any) -> None:
    class NamesNothing:
        def decide(self, facts: Facts, /) -> Decision:
            return Decision(Lane.QUEUE, "r", rule)

    registry, spec = registered(weight=1.0)
    shadow = ShadowCounter(NamesNothing())

    assert chooser(registry, shadow).choose(spec.func, ([1],)).decision.lane is Lane.IN_PROCESS

    assert (shadow.counts, shadow.failures) == ((), {"app.report": 1})


@pytest.mark.parametrize("policy", [Broken(), BrokenWithDefault()])
def test_a_shadow_that_fails_changes_nothing_and_is_counted(policy: Policy) -> None:
    registry, spec = registered(weight=1.0)
    shadow = ShadowCounter(policy)

    call = chooser(registry, shadow).choose(spec.func, ([1],))

    assert call.decision.rule == "otherwise"
    assert (shadow.counts, shadow.failures) == ((), {"app.report": 1})


def test_arguments_that_fail_when_a_shadow_asks_for_their_size_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: ArgumentCodec, args: object, kwargs: object) -> object:
        raise RuntimeError("a serializer of the user's fails")

    registry, spec = registered(weight=1.0)
    shadow = ShadowCounter(Shrinks())
    monkeypatch.setattr(ArgumentCodec, "encode", encode)

    call = chooser(registry, shadow).choose(spec.func, ([1],))

    assert (call.decision.lane, shadow.failures) == (Lane.IN_PROCESS, {"app.report": 1})


def test_counts_are_sorted_by_task_and_the_most_calls() -> None:
    def facts(waiting: int) -> Callable[[Appointed], Facts]:
        return lambda appointed: Facts(weight=1.0, in_process=InProcessReading(waiting=waiting))

    _, spec = registered(weight=1.0)
    shadow = ShadowCounter(load_policy("spill-over"))
    decision = Decision(Lane.IN_PROCESS, "r", "obeyed", "v1")
    for waiting in (0, 9, 9, 9, 0):
        shadow.compare(spec, 1.0, decision, facts(waiting))

    assert [(count.shadow_rule, count.calls, count.diverges) for count in shadow.counts] == [
        ("spill over while this process is busy", 3, True),
        ("otherwise", 2, False),
    ]


def test_of_too_many_obeyed_policies_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.shadow.counter.MOST_REVISIONS", 2)
    _, spec = registered(weight=1.0)
    shadow = ShadowCounter(load_policy("all-queued"))
    for revision in ("v1", "v2", "v1", "v3"):
        shadow.beside(load_policy("by-weight"), revision)
        shadow.compare(spec, 1.0, Decision(Lane.QUEUE, "r", "obeyed", revision), lambda _: Facts())
    assert [(count.revision, count.calls) for count in shadow.counts] == [("v1", 2), ("v3", 1)]
    assert shadow.names.keys() == {"v1", "v3", shadow.revision}
