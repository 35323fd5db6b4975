"""An async task that blocks the event loop is named: in a warning with its stack, and in ``dispatcher.loop_blocks``."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from blockbuster import BlockBuster
from fastapi import FastAPI
from fastapi.testclient import TestClient

from weighbridge import BackgroundTasks, Decision, Dispatcher, Facts, Lane, task

from .broker import MemoryBroker

pytestmark = pytest.mark.anyio

BLOCK_S = 0.3


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def may_block(blockbuster: BlockBuster) -> None:
    for function in blockbuster.functions.values():
        function.can_block_in("tests/fundamentals/test_loop_guard.py", {"computes"})


def computes() -> None:
    """What an async function should leave to a thread."""
    time.sleep(BLOCK_S)


async def blocks() -> None:
    await anyio.lowlevel.checkpoint()
    computes()


async def starts_what_blocks() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(blocks)


async def patient() -> None:
    for _ in range(20):
        await anyio.sleep(0.01)


def sync() -> None:
    computes()


class Stays:
    """A policy that keeps what it was told of the loop."""

    def __init__(self) -> None:
        self.lags_ms: list[float] = []

    def decide(self, facts: Facts, /) -> Decision:
        self.lags_ms.append(facts.loop.lag_ms or 0.0)
        return Decision(Lane.IN_PROCESS, reason="always", rule="always")


def name_of(func: Callable[..., object]) -> str:
    return f"{func.__module__}.{func.__qualname__}"


async def run(dispatcher: Dispatcher, *functions: Callable[[], object]) -> None:
    """Run each as a call of its own, beside the others, to their end; then let the sampler look once more."""
    for function in functions:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(function)
    await dispatcher.join()
    await anyio.sleep(0.1)


async def until(holds: Callable[[], bool], do: Callable[[], Awaitable[None]]) -> None:
    """Do something until it has had its effect: on a machine that stands still the guard rightly sees nothing."""
    with anyio.fail_after(30):
        while not holds():
            await do()


async def test_a_task_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async with Dispatcher() as dispatcher:
        await until(lambda: bool(caplog.records), lambda: run(dispatcher, blocks))

    record = caplog.records[0]
    told = vars(record)
    assert (told["event"], told["task"], record.levelno) == (
        "in_process.loop_blocked",
        name_of(blocks),
        logging.WARNING,
    )
    assert told["call_id"]
    assert 100 <= told["blocked_ms"] == told["longest_ms"]
    stack = record.stack_info or ""
    assert stack.index("in blocks\n") < stack.index("in computes\n    time.sleep(BLOCK_S)")
    assert "weighbridge/lanes" not in stack


async def test_the_blocks_of_a_task_are_counted() -> None:
    dispatcher = Dispatcher()
    assert dispatcher.loop_blocks == {}
    async with dispatcher:
        await until(lambda: bool(dispatcher.loop_blocks), lambda: run(dispatcher, blocks))
        first = dispatcher.loop_blocks[name_of(blocks)]
        await until(
            lambda: dispatcher.loop_blocks[name_of(blocks)].blocks > first.blocks, lambda: run(dispatcher, blocks)
        )

    counts = dispatcher.loop_blocks[name_of(blocks)]  # of a closed dispatcher too
    assert 0.1 <= first.longest_s <= counts.longest_s < counts.total_s


async def test_an_innocent_task_beside_it_is_not_accused(caplog: pytest.LogCaptureFixture) -> None:
    async with Dispatcher() as dispatcher:
        await until(
            lambda: bool(dispatcher.loop_blocks), lambda: run(dispatcher, patient, blocks, patient, sync, patient)
        )
        assert set(dispatcher.loop_blocks) == {name_of(blocks)}
    assert {vars(record)["task"] for record in caplog.records} == {name_of(blocks)}


async def test_a_sync_task_is_never_accused() -> None:
    async with Dispatcher(loop_block_s=0.01) as dispatcher:
        await run(dispatcher, sync, sync, patient)
        assert name_of(sync) not in dispatcher.loop_blocks


async def test_what_blocks_for_less_than_the_setting_is_not_named() -> None:
    async with Dispatcher(loop_block_s=60) as dispatcher:
        await run(dispatcher, blocks)
        assert dispatcher.loop_blocks == {}


async def test_the_guard_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    async with Dispatcher(loop_block_s=0) as dispatcher:
        await run(dispatcher, blocks, blocks)
        assert dispatcher.loop_blocks == {}
    assert caplog.records == []


async def test_a_task_is_named_for_what_it_starts_where_python_tells_the_context_of_a_task(anyio_backend: str) -> None:
    named = {name_of(blocks)}
    if anyio_backend == "asyncio" and sys.version_info >= (3, 12):
        named.add(name_of(starts_what_blocks))
    dispatcher = Dispatcher()
    async with dispatcher:
        await until(lambda: dispatcher.loop_blocks.keys() >= named, lambda: run(dispatcher, starts_what_blocks, blocks))
        assert dispatcher.loop_blocks.keys() == named


async def test_a_block_while_the_dispatcher_closes_is_named_too() -> None:
    dispatcher = Dispatcher()

    async def open_and_close() -> None:
        async with dispatcher, dispatcher.tasks() as tasks:
            for _ in range(3):
                tasks.add_task(blocks)
        await anyio.sleep(0.1)

    await until(lambda: bool(dispatcher.loop_blocks), open_and_close)
    assert set(dispatcher.loop_blocks) == {name_of(blocks)}


async def test_the_sampler_ends_with_the_dispatcher() -> None:
    def sampled() -> bool:
        return any(thread.name == "weighbridge-loop-sampler" for thread in threading.enumerate())

    async with Dispatcher():
        assert sampled()
    await until(lambda: not sampled(), lambda: anyio.sleep(0.01))


# -- requests -----------------------------------------------------------------------------------------------


def test_an_endpoint_that_blocks_accuses_nobody_and_policies_see_the_lag(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    task(patient)  # one that a policy decides of
    policy = Stays()
    dispatcher = Dispatcher(broker=broker, policy=policy)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        tasks.add_task(patient)
        computes()
        tasks.add_task(patient)

    with TestClient(app) as client:
        policy.lags_ms.clear()  # of when it was tried
        for _ in range(5):
            client.post("/")
    assert max(policy.lags_ms) >= 100
    assert dispatcher.loop_blocks == {}
    assert [record for record in caplog.records if record.name == "weighbridge.in_process"] == []


def test_a_task_that_runs_as_starlette_runs_it_is_named_too() -> None:
    dispatcher = Dispatcher(on_failure="stop")
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        tasks.add_task(blocks)
        tasks.add_task(sync)

    with TestClient(app) as client:
        deadline_s = time.monotonic() + 30
        while not dispatcher.loop_blocks and time.monotonic() < deadline_s:
            client.post("/")
            time.sleep(0.1)
    assert set(dispatcher.loop_blocks) == {name_of(blocks)}
