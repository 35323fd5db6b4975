"""By value or by reference, the same everywhere: what the strict check lets pass here arrives equal when queued."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from dramatiq.brokers.stub import StubBroker
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.arguments import ArgumentCodec
from weighbridge.call import CallOptions
from weighbridge.chooser import Chooser
from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import ArgumentError
from weighbridge.lanes.queue import bind
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.settings import ArgumentsCheck
from weighbridge.task import Registry, TaskSpec

from .test_arguments import ODD, TYPED, Typed, twins

BROKER: Final = StubBroker(middleware=default_middleware())
#: What the task was run with, last.
ran_with: list[Any] = []


class Always:
    """A policy of one answer."""

    def __init__(self, lane: Lane) -> None:
        self._decision = Decision(lane=lane, reason="always", rule="always")

    def decide(self, facts: Facts, /) -> Decision:
        return self._decision


class AnyQueue:
    refuses = False

    def check(self, spec: TaskSpec, options: CallOptions) -> None: ...

    def note_ran_here(self, calls: int) -> None: ...


def declared(annotation: Any) -> tuple[Registry, TaskSpec]:
    def takes(value: Any, *rest: Any, **named: Any) -> None:
        ran_with[:] = [value, rest, named]

    takes.__annotations__.update(value=annotation, rest=annotation, named=annotation)
    registry = Registry()
    spec = TaskSpec(name="drift.takes", func=takes, is_async=False, codec=ArgumentCodec(takes, task="drift.takes"))
    registry.add(spec)
    return registry, spec


def chooser(registry: Registry, lane: Lane) -> Chooser:
    return Chooser(registry=registry, policy=Always(lane), queue=AnyQueue(), arguments_check=ArgumentsCheck.STRICT)


def run_in_a_worker(spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any], registry: Registry) -> None:
    """As a worker does: the message's JSON, read by the task's actor."""
    call = chooser(registry, Lane.QUEUE).choose(spec.func, args, kwargs)
    assert call.payload is not None
    wire = json.loads(json.dumps(call.payload, allow_nan=False))
    bind(BROKER, spec)(*wire[0], **wire[1])


VALUES = TYPED.flatmap(lambda typed: st.tuples(st.just(typed), st.lists(typed.values | ODD, min_size=1, max_size=3)))


@given(VALUES, st.booleans())
def test_what_strict_lets_pass_in_process_arrives_equal_when_queued(
    drawn: tuple[Typed, list[Any]], by_keyword: bool
) -> None:
    typed, values = drawn
    registry, spec = declared(typed.annotation)
    args, kwargs = (tuple(values[:1]), {"more": values[-1]}) if by_keyword else (tuple(values), {})

    try:
        call = chooser(registry, Lane.IN_PROCESS).choose(spec.func, args, kwargs)
    except ArgumentError as error:
        with pytest.raises(ArgumentError, match=re.escape(str(error))):
            chooser(registry, Lane.QUEUE).choose(spec.func, args, kwargs)
        return
    call.func(*call.args, **call.kwargs)
    here = [*ran_with]
    run_in_a_worker(spec, args, kwargs, registry)
    assert here[0] is values[0]
    assert twins(here, ran_with)
