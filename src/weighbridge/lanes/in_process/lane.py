"""The lane itself: what it accepts, what is seen of it from outside, and its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import anyio

from weighbridge.call import Call
from weighbridge.cancellation import CancelledAfterwards, to_the_end
from weighbridge.decision import InProcessReading
from weighbridge.errors import DispatcherError, DrainingError, NotOpenError
from weighbridge.events import emit
from weighbridge.lanes.in_process.chain import Chain
from weighbridge.lanes.in_process.chains import Chains
from weighbridge.lanes.in_process.counts import CallFailure, InProcessCounter, InProcessCounts
from weighbridge.lanes.in_process.drain import Drain, HandOver
from weighbridge.lanes.in_process.room import RETRY_AFTER_S, Room
from weighbridge.lanes.in_process.runner import OnError, Runner, about
from weighbridge.lanes.starter import open_starter
from weighbridge.run import running_call

logger: Final = logging.getLogger("weighbridge.in_process")

CALL_NOT_FINISHED: Final = "in_process.call_not_finished"
CALL_NOT_STARTED: Final = "in_process.call_not_started"
DRAINED: Final = "in_process.drained"

_NOT_DONE: Final = ("not_finished", "not_started")


class InProcessLane:
    """Runs calls on the loop that opened it: async ones as tasks, sync ones on threads of the lane's own.

    An async context manager. Its methods belong to that loop's thread. Every call starts once at most, and is run
    again only if its task declares retries; it has the context variables of its ``add_task``. A failure is logged and
    touches no other call.

    Leaving the context drains it: no further call is taken but what can be handed over to the queue; ``hand_over``
    takes what waits and can be; the rest gets ``drain_timeout_s`` seconds. Then what runs is cancelled, and each call
    that did not finish is named. A thread cannot be cancelled: it runs on until the process ends, and is named too.

    :param admission_timeout_s: For how long a request waits for room for its calls.
    """

    def __init__(
        self,
        *,
        threads: int,
        running_limit: int,
        waiting_limit: int,
        drain_timeout_s: float,
        clock: Callable[[], float],
        hand_over: HandOver,
        admission_timeout_s: float = 0.0,
        on_error: OnError | None = None,
    ) -> None:
        self._threads = threads
        self._running_limit = running_limit
        self._room = Room(limit=waiting_limit)
        self._admission_timeout_s = admission_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._clock = clock
        self._hand_over = hand_over
        self._on_error = on_error
        self._counter = InProcessCounter()
        self._chains: Chains | None = None
        self._drain: Drain | None = None
        self._is_open = False
        #: How many requests have room here, and wait for the broker.
        self._commits = 0
        self._idle: anyio.Event | None = None

    async def __aenter__(self) -> Self:
        self._starter = await open_starter()
        self._runner = Runner(
            starter=self._starter,
            limiter=anyio.CapacityLimiter(self._threads),
            counter=self._counter,
            clock=self._clock,
            on_error=self._on_error,
        )
        self._chains = Chains(
            threads=self._threads,
            running_limit=self._running_limit,
            room=self._room,
            starter=self._starter,
            runner=self._runner,
            ended=self._note_change,
            waits=self._note_waiting,
        )
        self._drain = None
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        chains = self._chains
        if chains is None or not self._is_open:
            raise _not_open()
        drain = self._drain = Drain(
            room=self._room,
            chains=chains,
            counter=self._counter,
            hand_over=self._hand_over,
            timeout_s=self._drain_timeout_s,
            undecided=lambda: self._commits > 0,
        )
        before = self.counts()
        async with CancelledAfterwards():
            self._room.refuse(_draining)
            await to_the_end(drain.run)
            self._is_open = False
            self._runner.closing = True
            self._drain = None
            drain.end()
            self._name_the_rest(chains, drain)
            self._sum_up(before)
            chains.close()
            self._room.refuse(_draining)  # or who has waited for room meanwhile would get what the others leave
            self._room.leave_all([*self._room.calls])
            self._note_change()
            try:
                await self._starter.stop()
            finally:
                chains.end()
                self._note_change()

    def _name_the_rest(self, chains: Chains, drain: Drain) -> None:
        for call in chains.running:
            if call not in self._runner.telling:
                emit(logger, CALL_NOT_FINISHED, level=logging.ERROR, **about(call))
                self._counter.not_finished += 1
        for call in self._room.calls:
            reason = drain.why_kept(call)
            if attempts := chains.attempts(call):  # it waited for its next one
                emit(logger, CALL_NOT_FINISHED, level=logging.ERROR, **about(call), attempts=attempts, reason=reason)
                self._counter.not_finished += 1
            else:
                emit(logger, CALL_NOT_STARTED, level=logging.ERROR, **about(call), reason=reason)
                self._counter.not_started += 1

    def _sum_up(self, before: InProcessCounts) -> None:
        after = self.counts()
        ended = {
            name: getattr(after, name) - getattr(before, name)
            for name in ("succeeded", "failed", "expired", "cancelled", "handed_over", "unknown", *_NOT_DONE)
        }
        if any(ended.values()):
            lost = any(ended[name] for name in ("unknown", *_NOT_DONE))
            emit(logger, DRAINED, level=logging.WARNING if lost else logging.INFO, **ended)

    # -- admission ------------------------------------------------------------------------------------------

    def reserve_now(self, calls: Sequence[Call]) -> bool:
        """Take room for calls that are accepted now and started after the response, if there is any; whether it was.

        :raises DrainingError: if the lane takes no more calls, or has been closed: the request outlives the service.
        :raises NotOpenError: if it was never opened.
        """
        if not self._is_open:
            if self._chains is not None:
                raise _draining(calls)
            raise _not_open()
        if self._drain is not None and not self._drain.takes(calls):
            raise _draining(calls)
        return self._room.take(calls)

    async def reserve(self, calls: Sequence[Call]) -> None:
        """As :meth:`reserve_now`, and wait for room. Not cancellable: ``admission_timeout_s`` bounds it.

        :raises LaneFullError: if there was no room in that time; then none is taken.
        """
        if not self.reserve_now(calls):
            await self._room.wait_for(calls, timeout_s=self._admission_timeout_s)

    @contextmanager
    def undecided(self) -> Iterator[None]:
        """Around a commit that asks the broker: the drain does not end before it is known if its calls are accepted.

        Or it would hand over calls of a request that is then refused.
        """
        self._commits += 1
        try:
            yield
        finally:
            self._commits -= 1
            self._note_change()

    def release(self, calls: Sequence[Call]) -> None:
        """Give back the room of calls that will not be started, except those that are on their way to the queue."""
        chains = self._chains
        self._room.give_back(call for call in calls if chains is None or not chains.holds(call))
        self._note_change()

    def start(self, calls: Sequence[Call]) -> Chain:
        """Start a chain of calls whose room was reserved. If the lane was closed meanwhile, it has named them."""
        if self._chains is None or not self._is_open:
            chain = Chain(calls)
            chain.give_up(running=False)
            return chain
        if not calls:  # another response, which was given the items, has run them all
            return Chain(calls)
        chain = self._chains.start(calls)
        if self._drain is not None:
            self._drain.note_waiting()
        return chain

    # -- what is seen from outside --------------------------------------------------------------------------

    def reading(self, *, ahead: int = 0) -> InProcessReading:
        """The lane's counters at this moment, with ``ahead`` calls that a request has added and not yet committed."""
        chains = self._chains
        waiting = len(self._room.calls) + ahead
        if chains is None:
            return InProcessReading(0, waiting, self._threads)
        return InProcessReading(len(chains.running), waiting, chains.threads.free)

    def counts(self) -> InProcessCounts:
        """What became of the calls since the lane was made. On any thread."""
        running = 0
        if self._chains is not None and self._is_open:  # what runs on after that has been counted
            running = len(self._chains.running) - len(self._runner.telling)
        room = self._room
        return self._counter.counts(
            accepted=room.accepted, waiting=len(room.calls), running=running, refused=room.refused
        )

    def failures(self) -> tuple[CallFailure, ...]:
        """The calls that failed last, at most 100, the latest at the end. On any thread."""
        return tuple(self._counter.failures)

    async def join(self) -> None:
        """Return once nothing waits or runs here.

        :raises DispatcherError: in a call that runs here.
        """
        current = running_call()
        if current is not None and self._chains is not None and self._chains.runs(current.id):
            raise waits_for_itself(f"of {current.task!r} itself")
        while self._room.calls or (self._chains is not None and self._chains.running):
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()

    def _note_change(self) -> None:
        if self._idle is not None and not self._room.calls and self._chains is not None and not self._chains.running:
            self._idle.set()
            self._idle = None
        if self._drain is not None:
            self._drain.note_end()

    def _note_waiting(self) -> None:
        if self._drain is not None:
            self._drain.note_waiting()


def _not_open() -> NotOpenError:
    return NotOpenError(problem="the in-process lane is not open", remedy="open the dispatcher first")


def waits_for_itself(whose: str) -> DispatcherError:
    """The error for a join that would wait for what waits for it."""
    return DispatcherError(
        problem=f"join() would wait for itself: for the end of a call {whose}",
        remedy="await it outside of requests and tasks, as in a test or a script",
    )


def _draining(calls: Sequence[Call]) -> DrainingError:
    return DrainingError(
        problem="the service shuts down, and its lane in process takes no more calls",
        tasks=[call.name for call in calls],
        unknown=False,
        retry_after_s=RETRY_AFTER_S,
    )
