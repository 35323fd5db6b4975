"""Sync code that an async task runs in a greenlet, as SQLAlchemy's ``run_sync`` does: its stack ends there."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextvars import copy_context

import anyio.from_thread
import anyio.lowlevel
import pytest
from blockbuster import BlockBuster
from greenlet import greenlet  # type: ignore[import-untyped]  # it has types, in another package

from weighbridge.call import Call, on_loop
from weighbridge.decision import Decision, Lane
from weighbridge.load.loop_thread import Look, LoopThread
from weighbridge.run import CurrentCall, running

#: Where a task has one, the context of a task is known from Python 3.12 on.
TASKS_HAVE_CONTEXTS = sys.version_info >= (3, 12)

blocked, let_go = threading.Event(), threading.Event()


@pytest.fixture(autouse=True)
def may_block(blockbuster: BlockBuster) -> None:
    blocked.clear()
    let_go.clear()
    for function in blockbuster.functions.values():
        function.can_block_in("tests/unit/test_loop_thread_greenlet.py", {"query"})


def query() -> None:
    blocked.set()
    assert let_go.wait(10)


async def run_sync() -> None:
    await asyncio.sleep(0)
    greenlet(query).switch()


CALL = Call(
    id="7",
    name="app.task",
    func=run_sync,
    args=(),
    kwargs={},
    spec=None,
    is_async=True,
    decision=Decision(lane=Lane.IN_PROCESS, reason="test", rule="test"),
    context=copy_context(),
    added_at_s=0.0,
)


def looked_at(*, lane: Lane | None) -> Look | None:
    """What is seen while a greenlet of a call in ``lane``, or of no call, blocks the loop."""

    async def here() -> LoopThread:
        return LoopThread(ident=threading.get_ident(), token=anyio.lowlevel.current_token())

    async def run() -> None:
        with running(None if lane is None else CurrentCall(id="7", task="app.task", attempt=1, lane=lane)):
            await on_loop(CALL, run_sync)

    with anyio.from_thread.start_blocking_portal("asyncio") as portal:
        thread = portal.call(here)
        future = portal.start_task_soon(run)
        try:
            assert blocked.wait(10)
            return thread.look()
        finally:
            let_go.set()
            future.result(10)


def test_a_call_is_found_by_what_blocks_in_a_greenlet_if_the_loop_tells_the_context() -> None:
    look = looked_at(lane=Lane.IN_PROCESS)

    if TASKS_HAVE_CONTEXTS:
        assert look is not None
        assert (look.task, look.call_id) == ("app.task", "7")
        assert look.lines[0][2] == "query"
    else:
        assert look is None


@pytest.mark.parametrize("lane", [None, Lane.QUEUE])
def test_a_greenlet_of_no_call_of_this_lane_accuses_nobody(lane: Lane | None) -> None:
    assert looked_at(lane=lane) is None
