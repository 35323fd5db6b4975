"""Whatever a policy answers and whatever an option asks, no call takes a lane that its declaration forbids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from weighbridge import Decision, Facts, Lane
from weighbridge.arguments import ArgumentCodec
from weighbridge.call import CallOptions
from weighbridge.chooser import Chooser
from weighbridge.errors import ConstraintError
from weighbridge.task import Registry, TaskSpec


@dataclass
class AnyPolicy:
    """A policy that answers with a given lane, whatever it is asked."""

    lane: Lane

    def decide(self, facts: Facts, /) -> Decision:
        return Decision(lane=self.lane, reason="drawn", rule="drawn")


class AnyQueue:
    """A queue that can do whatever it is asked for."""

    refuses = False

    def check(self, spec: TaskSpec, options: CallOptions) -> None: ...

    def note_ran_here(self, calls: int) -> None: ...


def small(number: int = 0) -> None: ...


class Unserialisable: ...


def takes_an_object(thing: Unserialisable | None = None) -> None: ...


def declared(func: Callable[..., Any], **options: Any) -> tuple[Registry, TaskSpec]:
    registry = Registry()
    spec = TaskSpec(name="drawn", func=func, is_async=False, codec=ArgumentCodec(func, task="drawn"), **options)
    registry.add(spec)
    return registry, spec


lanes = st.sampled_from(Lane)
options = st.builds(
    CallOptions,
    weight=st.none() | st.floats(min_value=0, max_value=1e6),
    lane=st.none() | lanes,
    expires_s=st.none() | st.floats(min_value=0.1, max_value=100),
)
weights = st.floats(min_value=0, max_value=1e6)


def chosen(registry: Registry, func: Callable[..., Any], policy: Lane, asked: CallOptions) -> Lane | None:
    """The lane of the call; ``None`` if it was refused because the asked lane is forbidden."""
    chooser = Chooser(registry=registry, policy=AnyPolicy(policy), queue=AnyQueue())
    try:
        return chooser.choose(func, (), {}, options=asked).decision.lane
    except ConstraintError:
        return None


@given(policy=lanes, asked=options, weight=weights)
def test_a_durable_task_is_only_ever_queued(policy: Lane, asked: CallOptions, weight: float) -> None:
    registry, spec = declared(small, durable=True, weight=weight)

    lane = chosen(registry, spec.func, policy, asked)

    assert lane is (None if asked.lane is Lane.IN_PROCESS else Lane.QUEUE)


@given(policy=lanes, asked=options, weight=weights)
def test_a_task_that_shares_memory_is_never_queued(policy: Lane, asked: CallOptions, weight: float) -> None:
    registry, spec = declared(small, shares_memory=True, weight=weight)

    lane = chosen(registry, spec.func, policy, asked)

    assert lane is (None if asked.lane is Lane.QUEUE else Lane.IN_PROCESS)


@given(policy=lanes, asked=options, weight=weights)
def test_a_task_with_a_parameter_that_cannot_cross_is_never_queued(
    policy: Lane, asked: CallOptions, weight: float
) -> None:
    registry, spec = declared(takes_an_object, weight=weight)

    lane = chosen(registry, spec.func, policy, asked)

    assert lane is (None if asked.lane is Lane.QUEUE else Lane.IN_PROCESS)


@given(policy=lanes, asked=options)
def test_an_undeclared_function_is_never_queued(policy: Lane, asked: CallOptions) -> None:
    lane = chosen(Registry(), small, policy, asked)

    assert lane is (None if asked.lane is Lane.QUEUE else Lane.IN_PROCESS)


@given(policy=lanes, asked=options, weight=weights)
def test_a_free_task_goes_where_the_option_asks_and_else_where_the_policy_says(
    policy: Lane, asked: CallOptions, weight: float
) -> None:
    registry, spec = declared(small, weight=weight)

    assert chosen(registry, spec.func, policy, asked) is (asked.lane or policy)


@given(asked=st.floats(min_value=0.1, max_value=1e6), weight=weights)
def test_a_delayed_call_is_queued_or_refused_and_never_runs_here(asked: float, weight: float) -> None:
    free, spec = declared(small, weight=weight)
    staying, staying_spec = declared(small, shares_memory=True)
    delayed = CallOptions(delay_s=asked)

    assert chosen(free, spec.func, Lane.IN_PROCESS, delayed) is Lane.QUEUE
    assert chosen(staying, staying_spec.func, Lane.QUEUE, delayed) is None
