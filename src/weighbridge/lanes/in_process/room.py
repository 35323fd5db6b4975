"""Room for calls that wait in process: bounded, and given to those who ask for it in the order they came."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import anyio

from weighbridge.call import Call
from weighbridge.cancellation import to_the_end
from weighbridge.errors import LaneFullError, UnavailableError
from weighbridge.events import emit

logger: Final = logging.getLogger("weighbridge.in_process")

LANE_FULL: Final = "in_process.lane_full"
NEVER_FITS: Final = "in_process.request_never_fits"

#: Seconds until a lane that is full is told again.
TELL_AGAIN_S: Final = 60.0
#: After a refusal for want of room, a client should wait about as long as light calls take to make room.
RETRY_AFTER_S: Final = 1.0


class _Applicant:
    """A request's calls that wait for room."""

    __slots__ = ("answered", "calls", "refusal")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.answered = anyio.Event()
        self.refusal: UnavailableError | None = None


class Room:
    """The calls that have been accepted and do not run, and the requests that wait until theirs may be.

    Belongs to the lane's loop. Neither those calls nor the ones that wait to be accepted are ever more than ``limit``.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        #: In the order accepted. It is changed by this class alone, but looked at for each call.
        self.calls: dict[Call, None] = {}
        self._applicants: deque[_Applicant] = deque()
        self._applying = 0
        #: How many calls were given room, but for those that gave it back; and how many were refused for want of it.
        self.accepted = 0
        self.refused = 0
        self._tell_again_at_s = -math.inf

    def take(self, calls: Sequence[Call]) -> bool:
        """Take room for all of ``calls`` if there is any now, and nobody came before; whether it was."""
        if self._applicants or len(self.calls) + len(calls) > self._limit:
            return False
        for call in calls:
            self.calls[call] = None
        self.accepted += len(calls)
        return True

    async def wait_for(self, calls: Sequence[Call], *, timeout_s: float) -> None:
        """Take room for all of ``calls``, as soon as there is any. Not cancellable: ``timeout_s`` bounds it.

        :raises LaneFullError: if there is none in ``timeout_s`` seconds; at once, if there never can be.
        """
        if self.take(calls):
            return
        if len(calls) > self._limit or self._applying + len(calls) > self._limit or not timeout_s:
            raise self._full(calls, timeout_s=0)
        applicant = _Applicant(calls)
        deadline_s = anyio.current_time() + timeout_s

        async def answer() -> None:
            with anyio.CancelScope(deadline=deadline_s):
                await applicant.answered.wait()

        self._applicants.append(applicant)
        self._applying += len(calls)
        try:
            await to_the_end(answer)
        finally:
            if not applicant.answered.is_set():
                self._applicants.remove(applicant)
                self._applying -= len(calls)
                self._admit()  # whoever came after may want less
        if applicant.refusal is not None:
            raise applicant.refusal
        if not applicant.answered.is_set():
            raise self._full(calls, timeout_s=timeout_s)

    def leave(self, call: Call) -> None:
        """This call starts, or will not run here."""
        del self.calls[call]
        if self._applicants:
            self._admit()

    def leave_all(self, calls: Iterable[Call]) -> int:
        """These calls will not run here. How many of them were here: they are not, if the lane was closed meanwhile."""
        before = len(self.calls)
        for call in calls:
            self.calls.pop(call, None)
        left = before - len(self.calls)
        if self._applicants:
            self._admit()
        return left

    def give_back(self, calls: Iterable[Call]) -> None:
        """These calls will not be started: their request has failed. As if they had not been accepted."""
        left = self.leave_all(calls)
        self.accepted -= left  # after that, which may accept others

    def come_back(self, call: Call) -> None:
        """A call that ran waits for its next attempt. Whether or not there is room: it was accepted."""
        self.calls[call] = None

    def refuse(self, refusal: Callable[[Sequence[Call]], UnavailableError]) -> None:
        """Tell everyone who waits for room that there will be none."""
        while self._applicants:
            self._answer(refusal(self._applicants[0].calls))

    def _admit(self) -> None:
        while self._applicants and len(self.calls) + len(self._applicants[0].calls) <= self._limit:
            self._answer(None)

    def _answer(self, refusal: UnavailableError | None) -> None:
        applicant = self._applicants.popleft()
        self._applying -= len(applicant.calls)
        if refusal is None:
            # Here, and not by the one who is woken: until then another could take it.
            for call in applicant.calls:
                self.calls[call] = None
            self.accepted += len(applicant.calls)
        applicant.refusal = refusal
        applicant.answered.set()

    def _full(self, calls: Sequence[Call], *, timeout_s: float) -> LaneFullError:
        self.refused += len(calls)
        never = len(calls) > self._limit
        if never:
            problem = f"they are {len(calls)}, and in_process_waiting allows {self._limit} in all: add fewer at once"
            tasks = sorted({call.name for call in calls})
            emit(logger, NEVER_FITS, level=logging.ERROR, calls=len(calls), in_process_waiting=self._limit, tasks=tasks)
        else:
            problem = f"{len(self.calls)} calls wait in process already, and in_process_waiting allows {self._limit}"
            if timeout_s:
                problem += f"; no room came in {timeout_s} s"
            self._tell_full()
        return LaneFullError(
            problem=problem,
            tasks=[call.name for call in calls],
            unknown=False,
            retry_after_s=None if never else RETRY_AFTER_S,
        )

    def _tell_full(self) -> None:
        now_s = anyio.current_time()
        if now_s >= self._tell_again_at_s:
            self._tell_again_at_s = now_s + TELL_AGAIN_S
            emit(
                logger,
                LANE_FULL,
                level=logging.WARNING,
                waiting=len(self.calls),
                in_process_waiting=self._limit,
                refused=self.refused,
            )
