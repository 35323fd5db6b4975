"""What became of the calls that were handed to the in-process lane, and which failed last."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

#: How many failures are kept to be looked at; what is older stands in the log.
FAILURES_KEPT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessCounts:
    """Numbers of calls (not of requests), since the dispatcher was opened. All but two only grow.

    ``accepted`` is the sum of all below up to ``not_started``: each accepted call is one of those ``waiting`` or
    ``running`` at this moment, or has ended as one of:
    ``succeeded``, ``failed``, ``expired``, ``cancelled`` (an async task cancelled itself), ``handed_over`` to the queue
    at shutdown, ``unknown`` (it may have been), ``not_finished`` and ``not_started`` (at shutdown, each named in the
    log). ``retried`` counts runs that failed and were repeated, ``refused`` the calls that found no room.

    With ``on_failure="stop"`` nothing is counted: calls run in their requests, as Starlette's.
    """

    accepted: int = 0
    waiting: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    handed_over: int = 0
    unknown: int = 0
    not_finished: int = 0
    not_started: int = 0
    retried: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """A call that failed for good, or cancelled itself. ``error`` is its class: the text may hold argument values."""

    call_id: str
    task: str
    attempt: int
    error: str
    failed_at: datetime


#: Those that the counter is told when it is asked.
_TOLD: Final = ("accepted", "waiting", "running", "refused")
_COUNTED: Final = tuple(each.name for each in fields(InProcessCounts) if each.name not in _TOLD)


@dataclass(slots=True, eq=False)
class InProcessCounter:
    """Counts, on the lane's loop; read on any thread."""

    succeeded: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    handed_over: int = 0
    unknown: int = 0
    not_finished: int = 0
    not_started: int = 0
    retried: int = 0
    failures: deque[CallFailure] = field(default_factory=lambda: deque(maxlen=FAILURES_KEPT))

    def counts(self, *, accepted: int, waiting: int, running: int, refused: int) -> InProcessCounts:
        """The numbers at this moment."""
        counted: dict[str, int] = {name: getattr(self, name) for name in _COUNTED}
        return InProcessCounts(accepted=accepted, waiting=waiting, running=running, refused=refused, **counted)
