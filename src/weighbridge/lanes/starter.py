"""Starting a coroutine beside the running one, in a context of its own, and ending all that were started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Final, Protocol, TypeVarTuple

import anyio
import anyio.abc
import anyio.lowlevel

from weighbridge.cancellation import CancelledAfterwards, to_the_end

Arguments = TypeVarTuple("Arguments")
Run = Callable[[*Arguments], Coroutine[Any, Any, None]]

#: How often and for how long a cancelled task is reminded, in seconds, before it is left behind.
REMIND_EVERY_S: Final = 0.1
LEAVE_BEHIND_AFTER_S: Final = 2.0


class Starter(Protocol):
    """Starts coroutines that outlive the one that asked."""

    def start(self, name: str, context: Context, run: Run[*Arguments], /, *args: *Arguments) -> None:
        """Start ``run(*args)`` soon, in ``context`` or a copy of it; ``name`` is for debuggers."""
        ...

    def later(self, delay_s: float, tell: Callable[[], None]) -> Callable[[], None]:
        """Call ``tell`` in ``delay_s`` seconds, unless what is returned is called before. On the loop's thread."""
        ...

    async def stop(self) -> None:
        """Cancel what still runs, and return once it has ended."""
        ...


async def open_starter() -> Starter:
    """The starter for the running event loop."""
    if isinstance(anyio.lowlevel.current_token().native_token, asyncio.AbstractEventLoop):
        return AsyncioStarter(asyncio.get_running_loop())
    group = anyio.create_task_group()
    await group.__aenter__()
    return GroupStarter(group)


class AsyncioStarter:
    """Starts asyncio's own tasks.

    A task group of anyio does the same for about 40 µs more a call (measured under uvicorn, of some 300 µs for the
    whole request), and a request with one light call would notice.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: set[asyncio.Task[None]] = set()

    def start(self, name: str, context: Context, run: Run[*Arguments], /, *args: *Arguments) -> None:
        """Start ``run(*args)`` as a task; the loop holds tasks weakly, so this holds it until it ends."""
        # Not by the loop's factory: an eager one would run it here and now, in the middle of a request's end.
        task = asyncio.Task(self._run(run, args), loop=self._loop, name=name, context=context)
        self._running.add(task)

    def later(self, delay_s: float, tell: Callable[[], None]) -> Callable[[], None]:
        """Call ``tell`` in ``delay_s`` seconds, unless what is returned is called before."""
        return self._loop.call_later(delay_s, tell).cancel

    async def _run(self, run: Run[*Arguments], args: tuple[*Arguments]) -> None:
        try:
            await run(*args)
        finally:
            # Here and not in a callback, which the loop would have to schedule once more for each call.
            self._running.discard(asyncio.current_task(self._loop))

    async def stop(self) -> None:
        """Cancel what still runs; what does not obey within 2 seconds is left behind."""
        give_up_at = self._loop.time() + LEAVE_BEHIND_AFTER_S
        async with CancelledAfterwards():
            while self._running and self._loop.time() < give_up_at:
                for task in self._running:
                    task.cancel()
                await to_the_end(partial(asyncio.wait, set(self._running), timeout=REMIND_EVERY_S))
                # One that was cancelled before its first step has had no chance to say that it ended.
                self._running = {task for task in self._running if not task.done()}


class GroupStarter:
    """Starts tasks of an anyio task group, on any backend."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self._group = group
        self._scopes: set[anyio.CancelScope] = set()
        self._stopped = False

    def start(self, name: str, context: Context, run: Run[*Arguments], /, *args: *Arguments) -> None:
        """Start ``run(*args)`` in the group; a task takes a copy of the context that is current where it is started."""
        context.run(partial(self._group.start_soon, self._run, run, args, name=name))

    async def _run(self, run: Run[*Arguments], args: tuple[*Arguments]) -> None:
        # Shielded from whatever cancels the one who opened this: only its stop() ends what it runs.
        with anyio.CancelScope(shield=not self._stopped) as scope:
            self._scopes.add(scope)
            try:
                await run(*args)
            finally:
                self._scopes.discard(scope)

    def later(self, delay_s: float, tell: Callable[[], None]) -> Callable[[], None]:
        """Call ``tell`` in ``delay_s`` seconds, unless what is returned is called before."""
        scope = anyio.CancelScope()

        async def wait() -> None:
            with scope:
                await anyio.sleep(delay_s)
                tell()

        self._group.start_soon(self._run, wait, (), name="weighbridge timer")
        return scope.cancel

    async def stop(self) -> None:
        """Cancel what still runs, and wait for all of it."""
        self._stopped = True
        for scope in self._scopes:
            scope.shield = False
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)
