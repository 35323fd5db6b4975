"""The in-process lane: runs accepted calls in this process, beside the requests and never inside one."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import anyio
import anyio.to_thread

from weighbridge.call import Call
from weighbridge.cancellation import CancelledAfterwards, to_the_end
from weighbridge.decision import InProcessReading, Lane
from weighbridge.errors import LaneFullError, NotOpenError
from weighbridge.events import emit
from weighbridge.lanes.starter import Starter, open_starter
from weighbridge.run import CurrentCall, running

logger: Final = logging.getLogger("weighbridge.in_process")

CALL_FAILED: Final = "in_process.call_failed"
CALL_RETRIED: Final = "in_process.call_retried"
CALL_EXPIRED: Final = "in_process.call_expired"
CALL_CANCELLED: Final = "in_process.call_cancelled"
CALL_NOT_FINISHED: Final = "in_process.call_not_finished"
CALL_NOT_STARTED: Final = "in_process.call_not_started"

#: After a refusal for want of room, a client should wait about as long as light calls take to make room.
RETRY_AFTER_S: Final = 1.0


class Chain:
    """One request's calls: run in the order added, one at a time. Chains run beside each other."""

    __slots__ = ("_finished", "_left")

    def __init__(self, calls: Sequence[Call]) -> None:
        self._left = [*reversed(calls)]
        self._finished: anyio.Event | None = None

    async def wait(self) -> None:
        """Return once every call of the chain has ended, however it ended."""
        if self._left:
            self._finished = self._finished or anyio.Event()
            await self._finished.wait()

    def end_first(self) -> Call | None:
        """The first call has ended; the one that is the first now."""
        self._left.pop()
        if self._left:
            return self._left[-1]
        if self._finished is not None:
            self._finished.set()
        return None

    def give_up(self, *, running: bool) -> None:
        """None of its calls will run, or none but the first, which runs."""
        self._left = self._left[-1:] if running else []
        if not self._left and self._finished is not None:
            self._finished.set()


@dataclass(slots=True)
class _Pool:
    """Slots for one kind of call, and the chains whose first call waits for one of them."""

    limit: int
    running: int = 0
    chains: deque[tuple[Chain, Call]] = field(default_factory=deque)


class InProcessLane:
    """Runs calls on the loop that opened it: async ones as tasks, sync ones on threads of the lane's own.

    An async context manager. Its methods belong to that loop's thread. Every call runs at most once, with
    the context variables of its ``add_task``; a failure is logged and touches no other call. Leaving the
    context waits ``drain_timeout_s`` for what waits and runs, then cancels, and names each call that did not
    finish. A thread cannot be cancelled: it runs on until the process ends, and is named too.
    """

    def __init__(
        self,
        *,
        threads: int,
        running_limit: int,
        waiting_limit: int,
        drain_timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._threads = _Pool(limit=threads)
        self._tasks = _Pool(limit=running_limit)
        self._waiting_limit = waiting_limit
        self._drain_timeout_s = drain_timeout_s
        self._clock = clock
        #: Calls that were accepted and have not started, in that order; some are not handed over yet.
        self._waiting: dict[Call, None] = {}
        self._running: dict[Call, Chain] = {}
        self._idle: anyio.Event | None = None
        self._limiter: anyio.CapacityLimiter | None = None
        self._starter: Starter | None = None

    async def __aenter__(self) -> Self:
        self._limiter = anyio.CapacityLimiter(self._threads.limit)
        self._starter = await open_starter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        starter = self._opened()
        give_up_at_s = anyio.current_time() + self._drain_timeout_s

        async def drain() -> None:
            with anyio.CancelScope(deadline=give_up_at_s):
                await self.join()

        async with CancelledAfterwards():
            await to_the_end(drain)
            self._starter = None  # so that a call that ends now starts no other
            for call in self._running:
                emit(logger, CALL_NOT_FINISHED, level=logging.ERROR, **_about(call))
            for call in self._waiting:
                emit(logger, CALL_NOT_STARTED, level=logging.ERROR, **_about(call))
            self._give_up_waiting()
            try:
                await starter.stop()
            finally:
                for chain in self._running.values():  # of a call that was cancelled before its first step
                    chain.give_up(running=False)

    # -- admission ------------------------------------------------------------------------------------------

    def reserve(self, calls: Sequence[Call]) -> None:
        """Take room for calls that are accepted now and handed over after the response.

        :raises LaneFullError: if so many more may not wait; then no room is taken.
        :raises NotOpenError: if the lane is not open.
        """
        self._opened()
        if len(self._waiting) + len(calls) > self._waiting_limit:
            raise LaneFullError(
                problem=f"{len(self._waiting)} calls wait in process already, and in_process_waiting allows "
                f"{self._waiting_limit}",
                tasks=[call.name for call in calls],
                unknown=False,
                retry_after_s=RETRY_AFTER_S,
            )
        for call in calls:
            self._waiting[call] = None

    def release(self, calls: Sequence[Call]) -> None:
        """Give back the room of calls that will not be handed over."""
        for call in calls:
            self._waiting.pop(call, None)  # it is not there if the lane was closed meanwhile
        self._note_idle()

    def hand_over(self, calls: Sequence[Call]) -> Chain:
        """Start a chain of calls whose room was reserved. If the lane was closed meanwhile, it has named them."""
        chain = Chain(calls)
        starter = self._starter
        if starter is None:
            chain.give_up(running=False)
        elif calls:
            self._line_up(chain, calls[0], starter)
        return chain

    # -- what is seen from outside --------------------------------------------------------------------------

    def reading(self) -> InProcessReading:
        """The lane's counters at this moment."""
        return InProcessReading(
            running=len(self._running),
            waiting=len(self._waiting),
            threads_free=max(0, self._threads.limit - self._threads.running),
        )

    async def join(self) -> None:
        """Return once nothing waits or runs here."""
        while self._waiting or self._running:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()

    # -- running --------------------------------------------------------------------------------------------

    def _opened(self) -> Starter:
        if self._starter is None:
            raise NotOpenError(problem="the in-process lane is not open", remedy="open the dispatcher first")
        return self._starter

    def _line_up(self, chain: Chain, call: Call, starter: Starter) -> None:
        """Let a chain wait for a slot for ``call``, which is its first."""
        pool = self._tasks if call.is_async else self._threads
        pool.chains.append((chain, call))
        self._start_next(pool, starter)

    def _start_next(self, pool: _Pool, starter: Starter) -> None:
        while pool.chains and pool.running < pool.limit:
            chain, call = pool.chains.popleft()
            del self._waiting[call]
            pool.running += 1
            self._running[call] = chain
            starter.start(call.name, call.context, partial(self._run_first, pool, chain, call))

    async def _run_first(self, pool: _Pool, chain: Chain, call: Call) -> None:
        try:
            await self._run(call)
        finally:
            pool.running -= 1
            del self._running[call]
            following = chain.end_first()
            starter = self._starter
            if starter is not None:  # not closing
                if following is not None:
                    self._line_up(chain, following, starter)
                if pool.chains:
                    self._start_next(pool, starter)
            if self._idle is not None:
                self._note_idle()

    async def _run(self, call: Call) -> None:
        expires_s = call.options.expires_s
        if expires_s is not None and self._clock() - call.added_at_s > expires_s:
            emit(logger, CALL_EXPIRED, level=logging.WARNING, **_about(call))
            return
        retries = (call.spec.retries or 0) if call.spec is not None else 0
        for attempt in range(retries + 1):
            try:
                with running(CurrentCall(id=call.id, task=call.name, attempt=attempt + 1, lane=Lane.IN_PROCESS)):
                    await self._attempt(call)
            except anyio.get_cancelled_exc_class() as error:
                if self._starter is None:  # closing has cancelled it
                    raise
                # The task cancelled itself; to the event loop that would look like a success.
                emit(logger, CALL_CANCELLED, level=logging.ERROR, error=error, **_about(call))
                return
            except KeyboardInterrupt:  # meant for the process
                raise
            except BaseException as error:  # noqa: BLE001  # a task may raise anything, even exit: only its own call ends
                if attempt == retries or not isinstance(error, Exception):
                    emit(logger, CALL_FAILED, level=logging.ERROR, error=error, **_about(call))
                    return
                emit(logger, CALL_RETRIED, level=logging.WARNING, error=error, attempt=attempt + 1, **_about(call))
                await anyio.sleep(_backoff_s(call, attempt))
            else:
                return

    async def _attempt(self, call: Call) -> None:
        if call.is_async:
            limit_s = call.spec.time_limit_s if call.spec is not None else None
            if limit_s is None:
                await call.func(*call.args, **call.kwargs)
            else:
                with anyio.fail_after(limit_s):
                    await call.func(*call.args, **call.kwargs)
        else:
            await anyio.to_thread.run_sync(
                partial(call.func, *call.args, **call.kwargs), limiter=self._limiter, abandon_on_cancel=True
            )

    # -- ending ---------------------------------------------------------------------------------------------

    def _give_up_waiting(self) -> None:
        """Empty the lane of calls that have not started; nobody waits for them any longer."""
        for chain in self._running.values():
            chain.give_up(running=True)
        for pool in (self._threads, self._tasks):
            for chain, _ in pool.chains:
                chain.give_up(running=False)
            pool.chains.clear()
        self._waiting.clear()

    def _note_idle(self) -> None:
        if self._idle is not None and not self._waiting and not self._running:
            self._idle.set()
            self._idle = None


def _about(call: Call) -> dict[str, Any]:
    return {"task": call.name, "call_id": call.id}


def _backoff_s(call: Call, attempt: int) -> float:
    if call.spec is None:
        return 0.0
    # Far beyond any backoff, and still a float, which 2 to the power of 1024 is not.
    doublings = min(attempt, 64)
    return float(min(call.spec.max_backoff_s, call.spec.min_backoff_s * 2**doublings))
