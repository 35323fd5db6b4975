"""How a caller waits for its commit: a coroutine on asyncio or on trio, or a thread; and how it is woken."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
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

    async def wait(self) -> bool:
        """Whether it was woken before its time had passed. After a cancellation it can be awaited again."""


class Waiters:
    """Makes waiters, each of which waits ``timeout_s`` seconds at most."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._alarms: dict[asyncio.AbstractEventLoop, _Alarm] = {}

    def here(self) -> AsyncWaiter:
        """A waiter for the running coroutine."""
        if "trio" in sys.modules:
            import trio  # noqa: PLC0415  # an optional dependency; it is imported already

            if trio.lowlevel.in_trio_task():
                return TrioWaiter(timeout_s=self._timeout_s)
        loop = asyncio.get_running_loop()
        alarm = self._alarms.get(loop)
        if alarm is None:
            self._alarms = {each: alarm for each, alarm in self._alarms.items() if not each.is_closed()}
            alarm = self._alarms[loop] = _Alarm(loop, timeout_s=self._timeout_s)
        return AsyncioWaiter(loop, alarm)

    def for_thread(self) -> ThreadWaiter:
        """A waiter for a thread that may be blocked."""
        return ThreadWaiter(timeout_s=self._timeout_s)


class AsyncioWaiter:
    """A coroutine on asyncio: a bare future, which costs a third of an event."""

    __slots__ = ("_answer", "_woken", "home")

    def __init__(self, loop: asyncio.AbstractEventLoop, alarm: _Alarm) -> None:
        self.home = loop
        self._answer: bool | None = None
        self._woken: asyncio.Future[None] = loop.create_future()
        alarm.add(self)

    def wake_together(self, waiters: Sequence[Any]) -> None:
        """As :class:`Waiter` says."""
        self.home.call_soon_threadsafe(_wake_all, waiters)

    async def wait(self) -> bool:
        """As :class:`AsyncWaiter` says."""
        if self._answer is None:
            if self._woken.done():  # cancelled, with the task that awaited it
                self._woken = self.home.create_future()
            await self._woken
        assert self._answer is not None
        return self._answer

    @property
    def ended(self) -> bool:
        """Whether the wait has ended."""
        return self._answer is not None

    def end(self, *, woken: bool) -> None:
        """End the wait, if it has not ended."""
        if self._answer is None:
            self._answer = woken
            if not self._woken.done():  # it is done where the task was cancelled and has not learned it yet
                self._woken.set_result(None)


def _wake_all(waiters: Iterable[AsyncioWaiter]) -> None:
    for waiter in waiters:
        waiter.end(woken=True)


class _Alarm:
    """One timer for all waiters of a loop. They wait equally long, so their times end in the order they came."""

    __slots__ = ("_due", "_loop", "_timeout_s", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, timeout_s: float) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._due: deque[tuple[float, AsyncioWaiter]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiter: AsyncioWaiter) -> None:
        """End the wait of this one when its time has passed, if it has not ended by then."""
        due = self._due
        while due and due[0][1].ended:
            due.popleft()
        at_s = self._loop.time() + self._timeout_s
        due.append((at_s, waiter))
        if self._timer is None:
            self._timer = self._loop.call_at(at_s, self._ring)

    def _ring(self) -> None:
        due, now_s = self._due, self._loop.time()
        while due and (due[0][0] <= now_s or due[0][1].ended):
            due.popleft()[1].end(woken=False)
        self._timer = self._loop.call_at(due[0][0], self._ring) if due else None


class TrioWaiter:
    """A coroutine on trio."""

    __slots__ = ("_timeout_s", "event", "home")

    def __init__(self, *, timeout_s: float) -> None:
        import trio  # noqa: PLC0415  # an optional dependency, and only a caller that runs on it comes here

        self.home: trio.lowlevel.TrioToken = trio.lowlevel.current_trio_token()
        self.event = trio.Event()
        self._timeout_s = timeout_s

    def wake_together(self, waiters: Sequence[Any]) -> None:
        """As :class:`Waiter` says."""
        self.home.run_sync_soon(_set_all, waiters)

    async def wait(self) -> bool:
        """As :class:`AsyncWaiter` says."""
        import trio  # noqa: PLC0415  # as above

        with trio.move_on_after(self._timeout_s):
            await self.event.wait()
        return self.event.is_set()


class ThreadWaiter:
    """A thread."""

    __slots__ = ("_timeout_s", "event")

    def __init__(self, *, timeout_s: float) -> None:
        self.event = threading.Event()
        self._timeout_s = timeout_s

    @property
    def home(self) -> threading.Event:
        """Each thread is woken by itself."""
        return self.event

    def wake_together(self, waiters: Sequence[Any]) -> None:
        """As :class:`Waiter` says."""
        _set_all(waiters)

    def wait_blocking(self) -> bool:
        """Whether it was woken before its time had passed."""
        return self.event.wait(self._timeout_s)


def _set_all(waiters: Iterable[Any]) -> None:
    for waiter in waiters:
        waiter.event.set()


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
