"""How a caller waits for its commit: a coroutine on asyncio or on trio, or a thread; and how it is woken."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import trio


class Waiter(Protocol):
    """Waits once. ``home`` is where it waits: waiters with one home are woken together."""

    @property
    def home(self) -> Any:
        """The event loop, or the thread's own event."""

    def wake_together(self, waiters: Sequence[Any]) -> None:
        """Wake these waiters, all of this one's home and kind, from any thread, by one callback on their loop.

        :raises RuntimeError: if their loop has ended, so that none of them waits any more.
        """


class AsyncWaiter(Waiter, Protocol):
    """Waits in a coroutine."""

    async def wait(self, timeout_s: float) -> bool:
        """Whether it was woken before ``timeout_s`` seconds had passed."""


class AsyncioWaiter:
    """A coroutine on asyncio. A bare future and one timer, for an event in a cancel scope costs far more."""

    __slots__ = ("_woken", "home")

    def __init__(self) -> None:
        self.home = asyncio.get_running_loop()
        self._woken: asyncio.Future[bool] = self.home.create_future()

    def wake_together(self, waiters: Sequence[Any]) -> None:
        """As :class:`Waiter` says."""
        self.home.call_soon_threadsafe(_resolve_all, waiters)

    async def wait(self, timeout_s: float) -> bool:
        """As :class:`Waiter` says."""
        timer = self.home.call_later(timeout_s, self.resolve, False)  # noqa: FBT003  # call_later takes no keywords
        try:
            return await self._woken
        finally:
            timer.cancel()

    def resolve(self, woken: bool) -> None:  # noqa: FBT001  # as above
        """Let the wait end, if it has not ended by itself (by time, or because its task was cancelled)."""
        if not self._woken.done():
            self._woken.set_result(woken)


def _resolve_all(waiters: Iterable[AsyncioWaiter]) -> None:
    for waiter in waiters:
        waiter.resolve(True)  # noqa: FBT003  # as above


class TrioWaiter:
    """A coroutine on trio."""

    __slots__ = ("event", "home")

    def __init__(self) -> None:
        import trio  # noqa: PLC0415  # an optional dependency, and only a caller that runs on it comes here

        self.home: trio.lowlevel.TrioToken = trio.lowlevel.current_trio_token()
        self.event = trio.Event()

    def wake_together(self, waiters: Sequence[Any]) -> None:
        """As :class:`Waiter` says."""
        self.home.run_sync_soon(_set_all, waiters)

    async def wait(self, timeout_s: float) -> bool:
        """As :class:`Waiter` says."""
        import trio  # noqa: PLC0415  # as above

        with trio.move_on_after(timeout_s):
            await self.event.wait()
        return self.event.is_set()


class ThreadWaiter:
    """A thread."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event = threading.Event()

    @property
    def home(self) -> threading.Event:
        """Each thread is woken by itself."""
        return self.event

    def wake_together(self, waiters: Sequence[Any]) -> None:
        """As :class:`Waiter` says."""
        _set_all(waiters)

    def wait_blocking(self, timeout_s: float) -> bool:
        """Whether it was woken before ``timeout_s`` seconds had passed."""
        return self.event.wait(timeout_s)


def _set_all(waiters: Iterable[Any]) -> None:
    for waiter in waiters:
        waiter.event.set()


def waiter_here() -> AsyncWaiter:
    """A waiter for the running coroutine."""
    if "trio" in sys.modules:
        import trio  # noqa: PLC0415  # an optional dependency; it is imported already

        if trio.lowlevel.in_trio_task():
            return TrioWaiter()
    return AsyncioWaiter()


def wake(waiters: Iterable[Waiter]) -> list[Waiter]:
    """Wake each waiter, with one callback for each loop; the ones whose loop has ended are returned."""
    by_home: dict[Any, list[Waiter]] = {}
    for waiter in waiters:
        by_home.setdefault(waiter.home, []).append(waiter)
    gone: list[Waiter] = []
    for together in by_home.values():
        try:
            together[0].wake_together(together)
        except RuntimeError:  # asyncio's "event loop is closed", trio's RunFinishedError
            gone += together
    return gone
