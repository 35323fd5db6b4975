"""Without FastAPI a facade is made by hand, as Starlette's class is; with no dispatcher it is that class."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from weighbridge import BackgroundTasks, Dispatcher, Lane, Weight, task
from weighbridge.errors import CommittedError, DrainingError, LaneFullError, NotOpenError

from .broker import MemoryBroker, SlowBroker
from .happenings import happened, note

pytestmark = pytest.mark.anyio


def app_with(dispatcher: Dispatcher | None, endpoint: Any) -> Starlette:
    return Starlette(
        routes=[Route("/", endpoint, methods=["POST"])], lifespan=dispatcher.lifespan if dispatcher else None
    )


def test_the_end_of_the_block_commits_and_the_response_hands_over(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge(order: int) -> None: ...

    async def endpoint(request: Request) -> Response:
        async with BackgroundTasks() as tasks:
            tasks.add_task(charge, 7)
            tasks.add_task(note, "stays")
            assert broker.queued == []
        assert (broker.queued, happened) == (["charge"], [])
        return PlainTextResponse("ok", background=tasks)

    with TestClient(app_with(Dispatcher(broker=broker, wait_in_process=True), endpoint)) as client:
        assert client.post("/").status_code == 200

    assert happened == ["stays"]


def test_a_sync_endpoint_writes_with(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge(order: int) -> None: ...

    def endpoint(request: Request) -> Response:
        with BackgroundTasks() as tasks:
            tasks.add_task(charge, 7)
            tasks.add_task(note, "stays")
        return PlainTextResponse("ok", background=tasks)

    with TestClient(app_with(Dispatcher(broker=broker, wait_in_process=True), endpoint)) as client:
        assert client.post("/").status_code == 200

    assert (broker.queued, happened) == (["charge"], ["stays"])


def test_an_error_in_the_block_enqueues_nothing(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge(order: int) -> None: ...

    async def endpoint(request: Request) -> Response:
        async with BackgroundTasks() as tasks:
            tasks.add_task(charge, 7)
            raise LookupError

    client = TestClient(app_with(Dispatcher(broker=broker), endpoint), raise_server_exceptions=False)
    with client:
        assert client.post("/").status_code == 500

    assert broker.queued == []


def test_without_the_broker_the_answer_is_503(no_broker_url: str) -> None:
    @task(durable=True)
    def charge(order: int) -> None: ...

    async def endpoint(request: Request) -> Response:
        async with BackgroundTasks() as tasks:
            tasks.add_task(note, "stays")
            tasks.add_task(charge, 7)
        return PlainTextResponse("ok", background=tasks)

    with TestClient(app_with(Dispatcher(broker_url=no_broker_url), endpoint)) as client:
        response = client.post("/")

    assert (response.status_code, response.headers["Weighbridge-Enqueued"]) == (503, "no")
    assert int(response.headers["Retry-After"]) >= 1
    assert happened == []


def test_calls_that_were_never_committed_are_enqueued_after_the_response_and_that_is_logged(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    @task(durable=True)
    def charge(order: int) -> None: ...

    async def endpoint(request: Request) -> Response:
        tasks = BackgroundTasks()  # as a drop-in: no block, so no commit point
        tasks.add_task(charge, 7)
        return PlainTextResponse("ok", background=tasks)

    with TestClient(app_with(Dispatcher(broker=broker), endpoint)) as client:
        client.post("/")

    assert broker.queued == ["charge"]
    assert "background.committed_after_response" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_with_no_dispatcher_it_runs_its_calls_as_starlette_does() -> None:
    def sync_call(word: str) -> None:
        note(word)

    async def failing_call() -> None:
        raise LookupError

    tasks = BackgroundTasks([BackgroundTask(sync_call, "given")])
    ticket = tasks.add_task(sync_call, word="added")
    tasks.add_task(failing_call)
    tasks.add_task(sync_call, "never")

    assert isinstance(tasks, StarletteBackgroundTasks)
    assert (ticket.lane, ticket.weight) == (Lane.IN_PROCESS, 0.0)
    assert [each.func for each in tasks.tasks[:2]] == [sync_call, sync_call]
    with pytest.raises(LookupError):
        await tasks()
    assert happened == ["given", "added"]


def test_with_no_dispatcher_heavy_work_stays_and_a_call_that_must_be_queued_raises() -> None:
    @task(weight=Weight.HEAVY)
    def render() -> None: ...

    @task(durable=True)
    def charge() -> None: ...

    tasks = BackgroundTasks()

    assert tasks.add_task(render).lane is Lane.IN_PROCESS
    with pytest.raises(NotOpenError, match=r"charge.*no dispatcher is open"):
        tasks.add_task(charge)
    with pytest.raises(NotOpenError, match=r"render.*no dispatcher is open"):
        tasks.options(lane="queue").add_task(render)
    with pytest.raises(NotOpenError):
        tasks.options(delay_s=1).add_task(render)
    assert len(tasks.tasks) == 1


async def test_a_second_run_raises_and_runs_nothing_again() -> None:
    tasks = BackgroundTasks()
    tasks.add_task(note, "once")
    await tasks()

    with pytest.raises(CommittedError, match="second run"):
        await tasks()

    assert happened == ["once"]


async def test_a_second_run_under_a_dispatcher_raises_too() -> None:
    async with Dispatcher() as dispatcher:
        tasks = BackgroundTasks()
        tasks.add_task(note, "once")
        await tasks()
        with pytest.raises(CommittedError, match="second run"):
            await tasks()
        await dispatcher.join()

    assert happened == ["once"]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_calls_that_no_response_runs_give_their_room_back_and_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Dispatcher(in_process_waiting=1) as dispatcher:
        for _ in range(3):  # a client that left before the background step, or a forgotten background=
            async with BackgroundTasks() as tasks:
                tasks.add_task(note, "never")
            del tasks
            with anyio.fail_after(5):
                await dispatcher.join()

    assert caplog.text.count("background.calls_not_run") == 3
    assert happened == []


async def test_they_may_be_found_while_the_drain_names_other_calls(caplog: pytest.LogCaptureFixture) -> None:
    class CollectsGarbage(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gc.collect()

    collects = CollectsGarbage()
    kept: list[BackgroundTasks] = []
    gc.disable()
    try:
        async with Dispatcher(drain_timeout_s=0.01):
            for _ in range(3):
                async with BackgroundTasks() as tasks:
                    tasks.add_task(note, "never")
                kept.append(tasks)
            cycle: list[object] = [kept.pop()]
            cycle.append(cycle)
            del tasks, cycle
            logging.getLogger("weighbridge.in_process").addHandler(collects)
    finally:
        logging.getLogger("weighbridge.in_process").removeHandler(collects)
        gc.enable()

    assert caplog.text.count("in_process.call_not_started") == 3
    assert happened == []


async def test_a_block_that_begins_while_the_dispatcher_drains_is_told_so() -> None:
    go = anyio.Event()

    async def runs() -> None:
        await go.wait()

    async def request() -> None:
        await anyio.wait_all_tasks_blocked()
        try:
            with pytest.raises(DrainingError):
                async with BackgroundTasks() as tasks:
                    tasks.add_task(note, "never")
        finally:
            go.set()

    async with anyio.create_task_group() as group, Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(runs)
        group.start_soon(request)

    assert happened == []


async def test_without_a_dispatcher_that_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    async with BackgroundTasks() as tasks:
        tasks.add_task(note, "never")
    del tasks

    assert "background.calls_not_run tasks=['" in caplog.text
    assert happened == []


def test_on_a_thread_that_no_loop_has_started_that_is_logged_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There a dispatcher cannot be found; ``dispatcher.tasks()`` is the way."""

    def scheduler() -> None:
        with BackgroundTasks() as tasks:
            tasks.add_task(note, "never")

    thread = threading.Thread(target=scheduler)
    thread.start()
    thread.join()

    assert "background.calls_not_run" in caplog.text


async def test_what_was_committed_while_its_request_was_cancelled_is_logged_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By asyncio's own way, which a block cannot shield from: the commit ends, and then the request does."""
    broker = SlowBroker()

    @task(durable=True)
    def charge() -> None: ...

    async def endpoint() -> None:
        async with BackgroundTasks() as tasks:
            tasks.add_task(note, "never")
            tasks.add_task(charge)
        note("goes on")

    async with Dispatcher(broker=broker, in_process_waiting=1) as dispatcher:
        request = asyncio.create_task(endpoint())
        await anyio.to_thread.run_sync(broker.asked.wait)
        request.cancel()
        await asyncio.sleep(0)
        broker.let_in.set()
        await asyncio.wait([request])
        assert request.cancelled()
        del request
        gc.collect()
        with anyio.fail_after(5):
            await dispatcher.join()  # the room was given back

    assert broker.queued == ["charge"]
    assert happened == []
    assert "background.calls_not_run" in caplog.text
    broker.close()


async def test_what_a_response_has_run_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    for dispatcher in (None, Dispatcher()):
        async with dispatcher or contextlib.nullcontext():
            async with BackgroundTasks() as tasks:
                tasks.add_task(note, "ran")
            await tasks()
            del tasks
            if dispatcher is not None:
                await dispatcher.join()

    assert happened == ["ran", "ran"]
    assert "background.calls_not_run" not in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_both_lanes_work_on_trio_as_on_asyncio(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge(order: int) -> None: ...

    async def async_call() -> None:
        await anyio.lowlevel.checkpoint()
        note("async")

    async with Dispatcher(broker=broker) as dispatcher:
        async with BackgroundTasks() as tasks:
            tasks.add_task(charge, 7)
            tasks.add_task(async_call)
            tasks.add_task(note, "sync")
        await tasks()
        await dispatcher.join()

    assert (broker.queued, happened) == (["charge"], ["async", "sync"])


async def test_calls_that_were_refused_and_then_given_up_need_no_room_any_more() -> None:
    committed: list[BackgroundTasks] = []

    async def commit(tasks: BackgroundTasks) -> None:
        await tasks.commit()
        committed.append(tasks)

    async with (
        Dispatcher(in_process_waiting=1, admission_timeout_s=5) as dispatcher,
        anyio.create_task_group() as group,
    ):
        refused, holds, waits = (BackgroundTasks(dispatcher=dispatcher) for _ in range(3))
        for tasks in (refused, refused, holds, waits):
            tasks.add_task(note, "never")
        with pytest.raises(LaneFullError):
            await refused.commit()
        await holds.commit()
        group.start_soon(commit, waits)
        await anyio.wait_all_tasks_blocked()

        refused.tasks.clear()
        group.start_soon(commit, refused)
        await anyio.wait_all_tasks_blocked()
        assert committed == [refused]

        for tasks in (holds, waits):
            tasks.discard()
    assert happened == []
