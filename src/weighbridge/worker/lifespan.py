"""What a service opens once in each worker process, around all its calls: ``Dispatcher(worker_lifespan=…)``."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Final

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import AsyncIO, Middleware, MiddlewareError

from weighbridge.dispatcher import WorkerLifespan
from weighbridge.events import emit
from weighbridge.worker.control import ExitCode
from weighbridge.worker.modules import is_machinery

logger: Final = logging.getLogger("weighbridge.worker")

NO_EVENT_LOOP: Final = "worker.no_event_loop"
LIFESPAN_NOT_LEFT: Final = "worker.lifespan_not_left"
#: Seconds between two looks whether the event loop still lives, while something is awaited there.
LOOP_CHECK_S: Final = 0.5


class LifespanError(MiddlewareError):
    """The lifespan could not be entered. Dramatiq lets this kind of error alone stop the start of its worker."""


class Lifespan(Middleware):
    """Dramatiq middleware, added last: enters before anything is fetched, leaves when the last call has ended.

    An async one is entered and left by one task, on the event loop on which async tasks run. ``failed`` turns true if
    it could not be left.
    """

    def __init__(self, factory: WorkerLifespan) -> None:
        self.failed = False
        self._factory = factory
        self._context: AbstractContextManager[object] | None = None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002  # Dramatiq's
        """Enter.

        :raises LifespanError: if that fails.
        """
        try:
            context = self._made(broker)
            context.__enter__()
        except (Exception, SystemExit) as error:
            raise LifespanError(_told(error)) from error
        self._context = context

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002  # as above
        """Leave; an error is logged."""
        context, self._context = self._context, None
        if context is None:
            return
        try:
            context.__exit__(None, None, None)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever it is, calls are given back all the same
            self.failed = True
            emit(logger, LIFESPAN_NOT_LEFT, level=logging.ERROR, error=error, problem=type(error).__name__)

    def _made(self, broker: dramatiq.Broker) -> AbstractContextManager[object]:
        made = self._factory()
        if isinstance(made, AbstractAsyncContextManager):
            require_event_loop(broker)
            return _OnLoop(made)
        if isinstance(made, AbstractContextManager):
            return made
        raise TypeError(f"it gives a {type(made).__name__}, and not a context manager, sync or async")


class _OnLoop(AbstractContextManager[object]):
    """An async context manager, held open by one task on Dramatiq's event loop."""

    def __init__(self, context: AbstractAsyncContextManager[object]) -> None:
        self._context = context
        self._leave = asyncio.Event()
        self._entered: Future[None] = Future()
        self._held: Future[None] | None = None

    def __enter__(self) -> None:
        thread = get_event_loop_thread()
        if thread is None:
            raise RuntimeError("it is async, and the broker has no AsyncIO middleware, so there is no event loop")
        self._loop = thread.loop
        self._held = asyncio.run_coroutine_threadsafe(self._hold(), self._loop)
        self._wait(self._held)

    def __exit__(self, *_: object) -> None:
        assert self._held is not None  # it was entered
        self._loop.call_soon_threadsafe(self._leave.set)
        self._entered = Future()  # which does not come, so that it is the end that is waited for
        self._wait(self._held)

    async def _hold(self) -> None:
        async with self._context:
            self._entered.set_result(None)
            await self._leave.wait()

    def _wait(self, held: Future[None]) -> None:
        """Until it is entered, or has ended; raises what the context has raised."""
        while not wait([self._entered, held], LOOP_CHECK_S, FIRST_COMPLETED).done:
            if not self._loop.is_running():
                raise RuntimeError("the event loop has ended")
        if held.done():
            held.result()


def require_event_loop(broker: dramatiq.Broker) -> None:
    """Dramatiq gives its event loop one second to start and only logs a failure; async tasks then fail."""
    if any(isinstance(each, AsyncIO) for each in broker.middleware) and get_event_loop_thread() is None:
        emit(
            logger,
            NO_EVENT_LOOP,
            level=logging.ERROR,
            remedy="this process ends, and another takes its place",
        )
        # Its thread may still come up, and would keep a process that only returns alive for ever.
        os._exit(ExitCode.CUT_OFF)


def _told(error: BaseException) -> str:
    """The error, and the line of the user's from which it came."""
    lines = [each for each in traceback.extract_tb(error.__traceback__) if not is_machinery(each)]
    place = f" ({lines[-1].filename}, line {lines[-1].lineno})" if lines else ""
    return f"worker_lifespan cannot be entered: {type(error).__name__}: {error}{place}"


def lifespan_of(factory: WorkerLifespan | None, broker: dramatiq.Broker) -> Lifespan | None:
    """Add it to the broker; ``None`` if there is none."""
    if factory is None:
        return None
    lifespan = Lifespan(factory)
    broker.add_middleware(lifespan)
    return lifespan


def end_start(worker: dramatiq.Worker) -> None:
    """End what had started before the lifespan refused: the event loop's thread would keep the process alive."""
    worker.broker.emit_after("worker_shutdown", worker)
    worker.broker.close()
