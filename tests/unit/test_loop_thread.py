from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from blockbuster import BlockBuster

from weighbridge.call import Call, on_loop
from weighbridge.decision import Decision, Lane
from weighbridge.load.loop_thread import LINES_KEPT, Look, LoopThread, shown
from weighbridge.run import CurrentCall, running

#: Where a task has one, the context of a task is known from Python 3.12 on.
TASKS_HAVE_CONTEXTS = sys.version_info >= (3, 12)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def may_block(blockbuster: BlockBuster) -> None:
    for function in blockbuster.functions.values():
        function.can_block_in("tests/unit/test_loop_thread.py", {"blocks"})


class Stop:
    """Where a loop is blocked until the test has looked."""

    def __init__(self) -> None:
        self.blocked, self.let_go = threading.Event(), threading.Event()

    def blocks(self) -> None:
        self.blocked.set()
        assert self.let_go.wait(10)


def call(func: Callable[..., Any], *, is_async: bool = True) -> Call:
    return Call(
        id="7",
        name="app.task",
        func=func,
        args=(),
        kwargs={},
        spec=None,
        is_async=is_async,
        decision=Decision(lane=Lane.IN_PROCESS, reason="test", rule="test"),
        context=copy_context(),
        added_at_s=0.0,
    )


def current(lane: Lane = Lane.IN_PROCESS) -> running:
    return running(CurrentCall(id="7", task="app.task", attempt=1, lane=lane))


def functions(look: Look | None) -> list[str]:
    assert look is not None
    return [function for _, _, function in look.lines]


@contextmanager
def blocked(backend: str, run: Callable[[], Awaitable[object]], stop: Stop) -> Iterator[LoopThread]:
    """The thread of a loop on which ``run()`` has come to the stop."""

    async def here() -> LoopThread:
        return LoopThread(ident=threading.get_ident(), token=anyio.lowlevel.current_token())

    with anyio.from_thread.start_blocking_portal(backend) as portal:
        thread = portal.call(here)
        future = portal.start_task_soon(run)
        try:
            assert stop.blocked.wait(10)
            yield thread
        finally:
            stop.let_go.set()
            future.result(10)


def test_the_call_is_found_with_its_stack_from_its_function_down(backend: str) -> None:
    stop = Stop()

    async def task() -> None:
        await anyio.lowlevel.checkpoint()
        await deeper()

    async def deeper() -> None:
        stop.blocks()

    with blocked(backend, lambda: on_loop(call(task), task), stop) as thread:
        look = thread.look()

    assert look is not None
    assert (look.task, look.call_id) == ("app.task", "7")
    assert functions(look)[:3] == ["task", "deeper", "blocks"]
    assert look.lines[0][:2] == (__file__, task.__code__.co_firstlineno + 2)


def test_what_a_function_does_before_it_gives_something_to_await_is_the_calls(backend: str) -> None:
    stop = Stop()

    async def nothing() -> None: ...

    def task() -> Awaitable[None]:
        stop.blocks()
        return nothing()

    with blocked(backend, lambda: on_loop(call(task), task), stop) as thread:
        assert functions(thread.look())[:2] == ["task", "blocks"]


def test_nothing_is_found_while_the_call_waits_and_something_else_blocks(backend: str) -> None:
    stop = Stop()

    async def other() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(on_loop, call(anyio.sleep_forever), anyio.sleep_forever)
            await anyio.wait_all_tasks_blocked()
            stop.blocks()
            group.cancel_scope.cancel()

    with blocked(backend, other, stop) as thread:
        assert thread.look() is None


def test_nothing_is_found_on_an_idle_loop(backend: str) -> None:
    stop = Stop()

    async def wait() -> None:
        await anyio.to_thread.run_sync(stop.blocks)

    with blocked(backend, wait, stop) as thread:
        assert thread.look() is None


def test_a_sync_call_is_never_found(backend: str) -> None:
    stop = Stop()

    async def to_a_thread() -> None:
        stop.blocks()  # as starting the thread might

    with blocked(backend, lambda: on_loop(call(stop.blocks, is_async=False), to_a_thread), stop) as thread:
        assert thread.look() is None


@pytest.mark.parametrize("lane", Lane)
def test_a_call_is_found_by_what_it_has_started_if_the_loop_tells_the_context(backend: str, lane: Lane) -> None:
    stop = Stop()

    async def child() -> None:
        await anyio.lowlevel.checkpoint()
        stop.blocks()

    async def parent() -> None:
        with current(lane):
            async with anyio.create_task_group() as group:
                group.start_soon(child)

    with blocked(backend, parent, stop) as thread:
        look = thread.look()

    if backend == "asyncio" and TASKS_HAVE_CONTEXTS and lane is Lane.IN_PROCESS:
        assert look is not None
        assert (look.task, look.call_id) == ("app.task", "7")
        names = functions(look)
        assert names[names.index("child") + 1] == "blocks"
        assert "run_forever" not in names
    else:
        assert look is None


def test_a_callback_of_the_loop_is_nobodys() -> None:
    stop = Stop()

    async def parent() -> None:
        with current():
            asyncio.get_running_loop().call_soon(stop.blocks)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with blocked("asyncio", parent, stop) as thread:
        assert thread.look() is None


def test_a_thread_that_has_ended_runs_nothing(backend: str) -> None:
    stop = Stop()

    async def at_once() -> None:
        stop.blocked.set()

    with blocked(backend, at_once, stop) as thread:
        pass
    assert thread.look() is None


def test_of_a_deep_recursion_the_innermost_lines_are_kept(backend: str) -> None:
    stop = Stop()

    def recurse(times: int) -> None:
        if times:
            recurse(times - 1)
        else:
            stop.blocks()

    async def task() -> None:
        recurse(2 * LINES_KEPT)

    with blocked(backend, lambda: on_loop(call(task), task), stop) as thread:
        look = thread.look()
    assert len(functions(look)) == LINES_KEPT
    assert "blocks" in functions(look)
    assert "task" not in functions(look)


def test_a_look_keeps_no_frame_and_no_value_alive(backend: str) -> None:
    stop = Stop()

    class Value:
        pass

    kept: list[weakref.ref[Value]] = []

    async def task(value: Value) -> None:
        kept.append(weakref.ref(value))
        local = value
        stop.blocks()
        del local

    async def run() -> None:
        value = Value()
        await on_loop(call(task), functools.partial(task, value))

    with blocked(backend, run, stop) as thread:
        look = thread.look()
    gc.collect()
    assert look is not None
    assert [ref() for ref in kept] == [None]


def test_a_stack_is_shown_as_python_shows_it_and_without_values() -> None:
    line = shown.__code__.co_firstlineno
    text = shown(((shown.__code__.co_filename, line, "shown"), ("nowhere.py", 4, "gone")))
    assert text == (
        "Stack (most recent call last):\n"
        f'  File "{shown.__code__.co_filename}", line {line}, in shown\n'
        "    def shown(lines: tuple[Line, ...]) -> str:\n"
        '  File "nowhere.py", line 4, in gone'
    )
