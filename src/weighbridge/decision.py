"""The values around a decision: lanes, the facts that a policy may look at, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar, assert_never

_T = TypeVar("_T")


class Lane(StrEnum):
    """Where a call runs. The strings stand in policy files, messages, logs and pages alike."""

    IN_PROCESS = "in_process"
    QUEUE = "queue"

    @property
    def meaning(self) -> str:
        """What becomes of a call in this lane, in a sentence."""
        match self:
            case Lane.IN_PROCESS:
                return "The call runs in this process, after the response; it is lost with the process."
            case Lane.QUEUE:
                return "The call is written to the broker before the response, and a worker runs it."
            case _ as never:
                assert_never(never)


#: Its members, for what every request asks: Python 3.11 is slow to find a member of an enum.
IN_PROCESS: Final = Lane.IN_PROCESS
QUEUE: Final = Lane.QUEUE


class Origin(StrEnum):
    """Where a fact comes from, and so how long it holds.

    ``declaration``: for all calls of a task. ``call``: for one call. ``live``: counted at the moment of the decision.
    ``sampled``: read in the background, and unknown when that was too long ago.
    """

    DECLARATION = "declaration"
    CALL = "call"
    LIVE = "live"
    SAMPLED = "sampled"


def _fact(*, default: _T, origin: Origin, meaning: str) -> _T:
    """A field of a fact, with what the reference says of it: where it comes from, what it is, its unit."""
    described: Any = field(default=default, metadata={"origin": origin, "meaning": meaning})
    # A field where the class is made, and the default to those who read the class; as ``dataclasses.field`` says it.
    return described  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class InProcessReading:
    """This process's in-process lane, read live: calls that run, calls that wait, threads without a call."""

    running: int = _fact(default=0, origin=Origin.LIVE, meaning="Calls that run in this process now.")
    waiting: int = _fact(
        default=0,
        origin=Origin.LIVE,
        meaning="Calls that wait in this process now, and those that stay of the ones that the same request has added "
        "before.",
    )
    threads_free: int | None = _fact(
        default=None, origin=Origin.LIVE, meaning="Threads of the in-process lane that have no call."
    )


@dataclass(frozen=True, slots=True)
class LoopReading:
    """How late the event loop answers, in milliseconds, measured from a thread, and the seconds since it was measured.

    ``lag_ms`` is ``None`` before it is measured, and when that was more than a second ago. While the loop does not
    answer the lag is measured at the moment of the decision, so ``age_s`` is 0.
    """

    lag_ms: float | None = _fact(
        default=None,
        origin=Origin.SAMPLED,
        meaning="How late the event loop answered when it was last asked, in milliseconds.",
    )
    age_s: float | None = _fact(
        default=None,
        origin=Origin.LIVE,
        meaning="Seconds since the lag was measured; 0 while the loop does not answer.",
    )


@dataclass(frozen=True, slots=True)
class BrokerReading:
    """The last background reading of the broker; nothing is probed when a call is decided.

    ``waiting`` counts the messages of the call's own queue, ``age_s`` the seconds since that was read. ``available``
    is what the breaker says at the moment of the decision, so it has no age.
    ``None``: never read, or a broker that cannot tell; ``waiting`` also if it was read more than five seconds ago, or
    the last reading has failed.
    """

    available: bool | None = _fact(default=None, origin=Origin.LIVE, meaning="Whether the breaker is closed.")
    waiting: int | None = _fact(
        default=None,
        origin=Origin.SAMPLED,
        meaning="Messages that waited in the call's own queue when it was last read.",
    )
    age_s: float | None = _fact(default=None, origin=Origin.LIVE, meaning="Seconds since the queues were read.")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a policy may look at: the call, and the last reading of load.

    ``weight`` is in milliseconds of CPU time. ``payload_bytes`` is the size of the encoded arguments, and
    ``None`` for a call whose arguments were not encoded (it cannot cross, or the policy does not ask).

    By position or keyword, as the readings: they are made for each call that is not decided by its declaration alone,
    and by position that takes a fourth less time.
    """

    name: str = _fact(default="", origin=Origin.DECLARATION, meaning="The task's name.")
    weight: float = _fact(
        default=0.0, origin=Origin.CALL, meaning="The weight of this call, in milliseconds of CPU time."
    )
    payload_bytes: int | None = _fact(
        default=None,
        origin=Origin.CALL,
        meaning="The size of its encoded arguments, in bytes. A policy that reads this fact has the arguments of every "
        "call encoded.",
    )
    queue: str = _fact(default="default", origin=Origin.DECLARATION, meaning="The queue that it would go to.")
    priority: int = _fact(default=0, origin=Origin.DECLARATION, meaning="The task's priority; lower runs first.")
    tags: Sequence[str] = _fact(default=(), origin=Origin.DECLARATION, meaning="The task's tags.")
    is_async: bool = _fact(default=False, origin=Origin.DECLARATION, meaning="Whether the task is an `async def`.")
    in_process: InProcessReading = InProcessReading()
    loop: LoopReading = LoopReading()
    broker: BrokerReading = BrokerReading()


@dataclass(frozen=True, slots=True)
class Decision:
    """The lane, the reason as a person reads it, and the rule or constraint that decided: by position or keyword.

    ``revision`` is that of the policy that decided, and empty if a constraint or an option did. Two decisions that
    differ in nothing else are equal.
    """

    lane: Lane
    reason: str
    rule: str
    revision: str = field(default="", compare=False)
