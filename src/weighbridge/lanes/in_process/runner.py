"""The runner: one attempt of one call, and what is told of how it ended."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread

from weighbridge.call import Call, on_loop
from weighbridge.decision import IN_PROCESS
from weighbridge.errors import TimeLimitError
from weighbridge.events import emit
from weighbridge.lanes.in_process.counts import CallFailure, InProcessCounter
from weighbridge.lanes.starter import Starter
from weighbridge.run import CurrentCall, run_in_this_context

logger: Final = logging.getLogger("weighbridge.in_process")

CALL_FAILED: Final = "in_process.call_failed"
CALL_RETRIED: Final = "in_process.call_retried"
CALL_EXPIRED: Final = "in_process.call_expired"
CALL_CANCELLED: Final = "in_process.call_cancelled"
CALL_OVER_TIME_LIMIT: Final = "in_process.call_over_time_limit"
ON_ERROR_FAILED: Final = "in_process.on_error_failed"

#: Told of each call that failed for good: the error, and the call. What it returns is awaited if it can be.
OnError = Callable[[BaseException, CurrentCall], object]


class Runner:
    """Runs calls, one attempt at a time, and lets no failure out.

    :param limiter: For the threads of sync calls.
    :param clock: That of ``Call.added_at_s``.
    """

    def __init__(
        self,
        *,
        starter: Starter,
        limiter: anyio.CapacityLimiter,
        counter: InProcessCounter,
        clock: Callable[[], float],
        on_error: OnError | None,
    ) -> None:
        self._starter = starter
        self._limiter = limiter
        self._counter = counter
        self._clock = clock
        self._on_error = on_error
        #: Whether calls are cancelled from outside, as the lane closes. What runs then was named as not finished.
        self.closing = False
        #: Calls that have ended, and of which the hook is being told.
        self.telling: set[Call] = set()

    async def run(self, call: Call, *, attempt: int) -> float | None:
        """Run ``call`` for the ``attempt``-th time; in how many seconds it is to run again, or ``None``: it has ended.

        To be awaited in a context of the attempt's own, which it marks as that.

        :raises BaseException: the backend's cancellation, once the lane is closing, and ``KeyboardInterrupt``.
        """
        if self.closing:
            return None  # not one step of it: trio cancels a task only where it waits
        expires_s = call.options.expires_s
        if expires_s is not None and self._clock() - call.added_at_s > expires_s:
            emit(logger, CALL_EXPIRED, level=logging.WARNING, **about(call))
            self._counter.expired += 1
            return None
        current = CurrentCall(call.id, call.name, attempt, IN_PROCESS, call.decision.revision)
        run_in_this_context(current)  # what is logged of it, and its hook, know the call too
        limit_s = call.spec.time_limit_s if call.spec is not None else None
        try:
            if not call.is_async:
                await self._run_on_thread(call, limit_s)
            elif limit_s is None:
                await on_loop(call, call.func, *call.args, **call.kwargs)
            else:
                await self._run_within(limit_s, call)
        except KeyboardInterrupt as error:  # meant for the process
            emit(logger, CALL_FAILED, level=logging.ERROR, error=error, **about(call))
            if not self.closing:
                self._counter.failed += 1
            raise
        except BaseException as error:  # a task may raise anything, even exit: only its own call ends
            # But the loop may have been given up with this in it, when nothing may be awaited, or the lane closes.
            # Raised here, for another frame that holds it would be held by it in turn.
            if isinstance(error, GeneratorExit) or (
                self.closing and isinstance(error, anyio.get_cancelled_exc_class())
            ):
                raise
            return await self._broke_off(call, current, error)
        if not self.closing:
            self._counter.succeeded += 1
        return None

    async def _broke_off(self, call: Call, current: CurrentCall, error: BaseException) -> float | None:
        if isinstance(error, anyio.get_cancelled_exc_class()):
            # The task cancelled itself; to the event loop that would look like a success.
            emit(logger, CALL_CANCELLED, level=logging.ERROR, error=error, **about(call))
            self._counter.cancelled += 1
            await self._tell(error, call, current)
            return None
        return await self._failed(call, current, error)

    async def _run_on_thread(self, call: Call, limit_s: float | None) -> None:
        stop_watching = None if limit_s is None else self._starter.later(limit_s, partial(_tell_late, call, limit_s))
        try:
            await anyio.to_thread.run_sync(
                partial(call.func, *call.args, **call.kwargs), limiter=self._limiter, abandon_on_cancel=True
            )
        finally:
            if stop_watching is not None:
                stop_watching()

    async def _run_within(self, limit_s: float, call: Call) -> None:
        interrupted: BaseException | None = None
        with anyio.move_on_after(limit_s) as scope:
            try:
                await on_loop(call, call.func, *call.args, **call.kwargs)
            except anyio.get_cancelled_exc_class() as error:
                interrupted = error
                raise
        if scope.cancelled_caught:
            # From the cancellation, whose traceback says where the task was.
            raise TimeLimitError(task=call.name, limit_s=limit_s) from interrupted
        if anyio.current_time() > scope.deadline:  # it never waited, so nothing could interrupt it
            _tell_late(call, limit_s)

    async def _failed(self, call: Call, current: CurrentCall, error: BaseException) -> float | None:
        if self.closing:  # an error of its cleaning up, perhaps: it is told, but the call has been counted
            emit(logger, CALL_FAILED, level=logging.ERROR, error=error, **about(call))
            return None
        spec = call.spec
        retries = (spec.retries or 0) if spec is not None else 0
        attempt = current.attempt
        if spec is not None and attempt <= retries and isinstance(error, Exception):
            emit(logger, CALL_RETRIED, level=logging.WARNING, error=error, **about(call), attempt=attempt)
            self._counter.retried += 1
            # Far beyond any backoff, and still a float, which 2 to the power of 1024 is not.
            doublings = min(attempt - 1, 64)
            return float(min(spec.max_backoff_s, spec.min_backoff_s * 2**doublings))
        emit(logger, CALL_FAILED, level=logging.ERROR, error=error, **about(call), attempt=attempt)
        self._counter.failed += 1
        await self._tell(error, call, current)
        return None

    @staticmethod
    async def _ask_hook(hook: OnError, error: BaseException, current: CurrentCall) -> None:
        answer = hook(error, current)
        if inspect.isawaitable(answer):
            await answer

    async def _tell(self, error: BaseException, call: Call, current: CurrentCall) -> None:
        self._counter.failures.append(
            CallFailure(
                call_id=current.id,
                task=current.task,
                attempt=current.attempt,
                error=type(error).__qualname__,
                failed_at=datetime.fromtimestamp(time.time(), UTC),
            )
        )
        if self._on_error is None:
            return
        self.telling.add(call)
        try:
            await on_loop(call, self._ask_hook, self._on_error, error, current)
        except KeyboardInterrupt:  # meant for the process
            raise
        except BaseException as its_own:
            if self.closing and isinstance(its_own, anyio.get_cancelled_exc_class()):
                raise
            # A hook that fails, or exits, must not take the lane along.
            emit(logger, ON_ERROR_FAILED, level=logging.ERROR, error=its_own, task=current.task, call_id=current.id)
        finally:
            self.telling.discard(call)


def about(call: Call) -> dict[str, Any]:
    """What a log line says of a call: never its arguments."""
    return {"task": call.name, "call_id": call.id}


def _tell_late(call: Call, limit_s: float) -> None:
    emit(logger, CALL_OVER_TIME_LIMIT, level=logging.WARNING, **about(call), time_limit_s=limit_s)
