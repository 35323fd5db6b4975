"""Dramatiq's signals, sent only to the middleware that listens."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.middleware import MiddlewareError


class SparingSignals(dramatiq.Broker):
    """A broker that does not call hooks which do nothing.

    Dramatiq calls an empty method of each middleware for each signal that it does not listen to: a third of what
    enqueueing in groups costs, and a tenth of a run. Order, arguments and what becomes of errors are Dramatiq's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._looked_at: list[dramatiq.Middleware] = []
        self._listeners: dict[str, list[dramatiq.Middleware]] = {}
        super().__init__(*args, **kwargs)

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the ``before`` hooks of this signal, in the order of the middleware.

        :raises dramatiq.middleware.MiddlewareError: if one does; the later ones are not called.
        """
        hook = f"before_{signal}"
        for middleware in self._listening(hook):
            try:
                getattr(middleware, hook)(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:  # as Dramatiq: a broken middleware does not stop the work
                self.logger.critical("%r failed in %s", middleware, hook, exc_info=True)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the ``after`` hooks of this signal, in the opposite order."""
        hook = f"after_{signal}"
        for middleware in reversed(self._listening(hook)):
            try:
                getattr(middleware, hook)(self, *args, **kwargs)
            except Exception:
                self.logger.critical("%r failed in %s", middleware, hook, exc_info=True)

    def _listening(self, hook: str) -> list[dramatiq.Middleware]:
        if self._looked_at != self.middleware:  # the list is public, and may be changed at any time
            self._listeners = {}
            self._looked_at = list(self.middleware)
        listeners = self._listeners.get(hook)
        if listeners is None:
            listeners = self._listeners[hook] = [each for each in self._looked_at if _listens(each, hook)]
        return listeners


def _listens(middleware: dramatiq.Middleware, hook: str) -> bool:
    empty = getattr(dramatiq.Middleware, hook, None)
    if empty is None:
        return True  # no signal of Dramatiq's, and a middleware without it is told as one that failed
    return getattr(getattr(middleware, hook), "__func__", None) is not empty
