"""A lane and calls for it, without a dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any

from weighbridge.arguments import ArgumentCodec
from weighbridge.call import Call, CallOptions
from weighbridge.crossing import call_is_async
from weighbridge.decision import Decision, Lane
from weighbridge.lanes.in_process import Chain, HandedOver, InProcessLane
from weighbridge.task import TaskSpec


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class NoQueue:
    """The way to the queue where there is none."""

    repeatable = False

    def obstacle(self, call: Call) -> str:  # the same for all
        return "there is no broker"

    async def hand_over(self, calls: Mapping[Call, int]) -> HandedOver:
        return HandedOver(kept=[*calls])


def lane(**changes: Any) -> InProcessLane:
    limits: dict[str, Any] = {
        "threads": 2,
        "running_limit": 4,
        "waiting_limit": 100,
        "drain_timeout_s": 5.0,
        "clock": Clock(),
        "hand_over": NoQueue(),
    }
    return InProcessLane(**{**limits, **changes})


def call(
    func: Callable[..., Any], *args: Any, options: CallOptions | None = None, spec: TaskSpec | None = None
) -> Call:
    return Call(
        id=f"id-of-{func.__name__}",
        name=func.__name__,
        func=func,
        args=args,
        kwargs={},
        spec=spec,
        is_async=call_is_async(func),
        decision=Decision(lane=Lane.IN_PROCESS, reason="test", rule="test"),
        context=copy_context(),
        added_at_s=0.0,
        options=options or CallOptions(),
    )


def spec_with(func: Callable[..., Any], **changes: Any) -> TaskSpec:
    return TaskSpec(
        name=func.__name__,
        func=func,
        is_async=call_is_async(func),
        codec=ArgumentCodec(func, task=func.__name__),
        **changes,
    )


def start(opened: InProcessLane, *calls: Call) -> Chain:
    assert opened.reserve_now(calls)
    return opened.start(calls)
