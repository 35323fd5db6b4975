"""A collector: the facades of one request, for who tells on its response what was decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

from weighbridge.background.decided import DecidedCall

#: Where a request's collector stands in the ASGI scope, if it has one.
COLLECTOR: Final = "weighbridge.collector"


class Decides(Protocol):
    """A facade, as far as it is known here."""

    def decided(self) -> Sequence[DecidedCall]:
        """Each call that was added, in order."""
        ...


class Collector:
    """Takes facades until it is closed, on any thread."""

    __slots__ = ("_facades",)

    def __init__(self) -> None:
        self._facades: list[Decides] | None = []

    def add(self, facade: Decides) -> None:
        """Keep a facade; once closed, do nothing."""
        facades = self._facades
        if facades is not None:
            facades.append(facade)

    def close(self) -> Sequence[Decides]:
        """Take no more; those that were added, in order, and nothing the next time.

        Calls keep their context, which holds the collector: one that was never closed would keep them in a cycle.
        """
        facades, self._facades = self._facades, None
        return facades or ()

    @contextmanager
    def open_here(self) -> Iterator[None]:
        """Have facades of this context find it: those that know no scope. At the end it is closed."""
        token = _collector.set(self)
        try:
            yield
        finally:
            _collector.reset(token)
            self.close()


_collector: Final[ContextVar[Collector | None]] = ContextVar("weighbridge_collector", default=None)


def collect(facade: Decides) -> None:
    """Add a facade that was made by hand to the collector of the request that this is a part of, if there is one."""
    collector = _collector.get()
    if collector is not None:
        collector.add(facade)
