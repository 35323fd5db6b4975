"""What is done when a worker has ended."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq
from dramatiq.middleware import Middleware


class AfterWorker(Middleware):
    """A Dramatiq middleware that calls ``close`` when no task runs any more and the broker is still there."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002
        """All threads have ended, or the time for that is over."""
        self._close()
