"""The values around a decision: lanes, the facts that a policy may look at, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Lane(StrEnum):
    """Where a call runs. The strings stand in policy files, messages, logs and pages alike."""

    IN_PROCESS = "in_process"
    QUEUE = "queue"


#: Its members, for what every request asks: Python 3.11 is slow to find a member of an enum.
IN_PROCESS: Final = Lane.IN_PROCESS
QUEUE: Final = Lane.QUEUE


@dataclass(frozen=True, slots=True)
class InProcessReading:
    """This process's in-process lane, read live: calls that run, calls that wait, threads without a call."""

    running: int = 0
    waiting: int = 0
    threads_free: int | None = None


@dataclass(frozen=True, slots=True)
class LoopReading:
    """How late the event loop answers, in milliseconds, measured from a thread, and the seconds since it was measured.

    ``lag_ms`` is ``None`` before it is measured, and when that was more than a second ago. While the loop does not
    answer the lag is measured at the moment of the decision, so ``age_s`` is 0.
    """

    lag_ms: float | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class BrokerReading:
    """The last background reading of the broker; nothing is probed when a call is decided.

    ``waiting`` counts the messages of the call's own queue, ``age_s`` the seconds since that was read. ``available``
    is what the breaker says at the moment of the decision, so it has no age.
    ``None``: never read, or a broker that cannot tell; ``waiting`` also if it was read more than five seconds ago, or
    the last reading has failed.
    """

    available: bool | None = None
    waiting: int | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a policy may look at: the call, and the last reading of load.

    Made for each call that is not decided by its declaration alone, by position: by keyword that takes longer.

    ``weight`` is in milliseconds of CPU time. ``payload_bytes`` is the size of the encoded arguments, and
    ``None`` for a call whose arguments were not encoded (it cannot cross, or the policy does not ask).
    """

    name: str = ""
    weight: float = 0.0
    payload_bytes: int | None = None
    queue: str = "default"
    priority: int = 0
    tags: Sequence[str] = ()
    is_async: bool = False
    in_process: InProcessReading = field(default_factory=InProcessReading)
    loop: LoopReading = field(default_factory=LoopReading)
    broker: BrokerReading = field(default_factory=BrokerReading)


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
