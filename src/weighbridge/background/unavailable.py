"""What a request answers when its calls cannot be accepted: 503 with ``Retry-After``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from starlette.exceptions import HTTPException

from weighbridge.call import Call
from weighbridge.errors import DrainingError, EnqueueError, LaneFullError, UnavailableError

#: Tells a client, in a word, whether the queued calls may be in the queue: ``no`` or ``unknown``.
ENQUEUED_HEADER = "Weighbridge-Enqueued"
RETRY_AFTER_S = 1.0


class _UnavailableResponseError(UnavailableError, HTTPException):
    """An :class:`UnavailableError` that FastAPI and Starlette answer as 503 without any handler."""

    def __init__(self, error: UnavailableError) -> None:
        UnavailableError.__init__(
            self,
            problem=error.problem,
            tasks=error.tasks,
            unknown=error.unknown,
            retry_after_s=error.retry_after_s,
        )
        self.status_code = 503
        # For the client: what it needs to decide about a retry. Addresses and task names are for the log.
        fate = (
            "it is unknown whether its queued calls are in the queue, so a retry may run them twice"
            if error.unknown
            else "nothing of it was enqueued, "
            + ("so a retry is safe" if error.retry_after_s is not None else "and a retry would fare no better")
        )
        self.detail = f"the background work of this request was not accepted; {fate}"
        self.headers = {ENQUEUED_HEADER: "unknown" if error.unknown else "no"}
        if error.retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))

    def __str__(self) -> str:
        return UnavailableError.__str__(self)


class QueueUnavailableError(_UnavailableResponseError, EnqueueError):
    """503: the broker did not take the request's queued calls, or may not have."""


class FullLaneError(_UnavailableResponseError, LaneFullError):
    """503: as many calls wait as the bound of a lane allows."""


class ShuttingDownError(_UnavailableResponseError, DrainingError):
    """503: the service shuts down, and takes no calls that stay in process."""


def interrupted(calls: Sequence[Call]) -> UnavailableError:
    """What is known of calls whose commit was cancelled while the broker was asked."""
    error = EnqueueError(
        problem="the commit was cancelled while the broker was asked",
        tasks=[call.name for call in calls],
        unknown=True,
        retry_after_s=RETRY_AFTER_S,
    )
    return for_request(error)


def for_request(error: UnavailableError) -> UnavailableError:
    """The same error in the form that a framework answers."""
    if isinstance(error, _UnavailableResponseError):
        return error
    if isinstance(error, EnqueueError):
        return QueueUnavailableError(error)
    if isinstance(error, LaneFullError):
        return FullLaneError(error)
    if isinstance(error, DrainingError):
        return ShuttingDownError(error)
    return _UnavailableResponseError(error)
