"""Adding tasks outside a request: a context whose clean end is the commit point."""

from __future__ import annotations

from functools import partial
from types import TracebackType

from weighbridge.background.blocking import refuse_on_loop
from weighbridge.background.collector import collect
from weighbridge.background.facade import BackgroundTasks
from weighbridge.dispatch import Dispatch


class OutsideTasks:
    """``async with dispatcher.tasks() as tasks`` on the loop, ``with dispatcher.tasks() as tasks`` on a thread.

    On a clean end the queued calls are committed, and the others start in the dispatcher's own lane; on an error
    nothing is accepted.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._facade = BackgroundTasks.of(dispatch, in_request=False)
        collect(self._facade)

    async def __aenter__(self) -> BackgroundTasks:
        return await self._facade.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._facade.__aexit__(kind, error, traceback)
        finally:  # a cancellation may have got through once the commit had succeeded
            await self._facade.run_accepted(wait=False)

    def __enter__(self) -> BackgroundTasks:
        refuse_on_loop()
        return self._facade

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._facade.discard()
        else:  # in one go, for this thread may be interrupted while it waits
            self._dispatch.run_blocking(partial(self.__aexit__, None, None, None))
