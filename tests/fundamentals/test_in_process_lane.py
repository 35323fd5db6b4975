"""What stays in process runs after the response, in a lane of the dispatcher's own.

A request's calls form a chain: in the order added, one at a time. No failure reaches another call or the request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import fastapi
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from weighbridge import BackgroundTasks, Dispatcher, Ticket, task

from .broker import MemoryBroker
from .happenings import happened, note
from .service import service

pytestmark = pytest.mark.anyio

user: ContextVar[str] = ContextVar("user", default="nobody")


async def fail(event: str) -> None:
    note(event)
    raise LookupError(event)


def fail_sync(event: str) -> None:
    note(event)
    raise LookupError(event)


# -- when ---------------------------------------------------------------------------------------------------


def test_the_response_does_not_wait_for_the_calls() -> None:
    responded = threading.Event()

    def work() -> None:
        assert responded.wait(10)
        note("worked")

    dispatcher = Dispatcher()
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        tasks.add_task(work)

    with TestClient(app) as client:
        client.post("/")  # on stock BackgroundTasks this would wait: the call runs in the request
        responded.set()
        client.portal.call(dispatcher.join)  # type: ignore[union-attr]  # there is one inside the `with`

    assert happened == ["worked"]


def test_with_wait_in_process_the_response_is_complete_once_they_have_ended() -> None:
    with TestClient(service(None, lambda tasks: tasks.add_task(note, "worked"), wait_in_process=True)) as client:
        client.post("/")
        assert happened == ["worked"]


def test_a_requests_calls_run_in_the_order_added_one_at_a_time() -> None:
    running: list[str] = []

    async def async_call(name: str) -> None:
        assert not running
        running.append(name)
        await anyio.lowlevel.checkpoint()
        running.remove(name)
        note(name)

    def sync_call(name: str) -> None:
        assert not running
        note(name)

    def add(tasks: BackgroundTasks) -> Ticket:
        for name in ("a", "b", "c"):
            tasks.add_task(async_call, name)
            ticket = tasks.add_task(sync_call, name.upper())
        return ticket

    with TestClient(service(None, add)) as client:
        client.post("/")

    assert "".join(happened) == "aAbBcC"


async def test_calls_of_several_requests_run_beside_each_other() -> None:
    async with Dispatcher() as dispatcher:
        both = anyio.Event()

        async def meet(number: int) -> None:
            note("one here")
            if len(happened) == 2:
                both.set()
            await both.wait()

        for number in range(2):
            async with dispatcher.tasks() as tasks:
                tasks.add_task(meet, number)
        with anyio.fail_after(10):
            await dispatcher.join()


def test_context_variables_are_as_they_were_when_the_call_was_added() -> None:
    def add(tasks: BackgroundTasks) -> Ticket:
        for name in ("ann", "bob"):
            user.set(name)
            tasks.add_task(lambda: note(user.get()))
        user.set("nobody again")
        return tasks.add_task(note, "last")

    with TestClient(service(None, add)) as client:
        client.post("/")

    assert happened == ["ann", "bob", "last"]


def test_context_variables_that_a_sync_endpoint_sets_reach_its_calls() -> None:
    seen: dict[str, str] = {}

    def served_by(annotation: Any, app: FastAPI, name: str) -> None:
        def endpoint(tasks: Any) -> None:
            user.set("ann")
            tasks.add_task(lambda: seen.update({name: user.get()}))

        endpoint.__annotations__["tasks"] = annotation
        app.get(f"/{name}")(endpoint)

    dispatcher = Dispatcher(wait_in_process=True)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])
    served_by(fastapi.BackgroundTasks, app, "stock")
    served_by(BackgroundTasks, app, "ours")

    with TestClient(app) as client:
        client.get("/stock")
        client.get("/ours")

    assert seen == {"stock": "nobody", "ours": "ann"}


# -- failures -----------------------------------------------------------------------------------------------


def test_one_failure_stops_no_other_call_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(note, "first")
        tasks.add_task(fail, "second failed")
        tasks.add_task(fail_sync, "third failed")
        return tasks.add_task(note, "fourth")

    with TestClient(service(None, add)) as client:
        assert client.post("/").status_code == 200

    assert happened == ["first", "second failed", "third failed", "fourth"]
    failed = [record for record in caplog.records if record.getMessage().startswith("in_process.call_failed")]
    assert [record.levelno for record in failed] == [logging.ERROR] * 2
    assert all(record.exc_info and record.exc_info[0] is LookupError for record in failed)
    assert "test_in_process_lane.fail " in failed[0].getMessage()


def committing_app(annotation: Any, **options: Any) -> FastAPI:
    """A service whose database commits when a request ends well and rolls back when it does not."""
    app = FastAPI(**options)

    async def database() -> AsyncIterator[None]:
        try:
            yield
        except Exception:
            note("rolled back")
            raise
        note("committed")

    async def endpoint(tasks: Any) -> None:
        tasks.add_task(fail, "failed")
        tasks.add_task(note, "next")

    endpoint.__annotations__["tasks"] = annotation
    app.post("/", dependencies=[Depends(database)])(endpoint)
    return app


def test_a_failure_reaches_no_dependency_of_the_request() -> None:
    dispatcher = Dispatcher(wait_in_process=True)
    app = committing_app(BackgroundTasks, lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    with TestClient(app) as client:
        assert client.post("/").status_code == 200

    assert happened == ["failed", "next", "committed"]


def test_with_fastapis_own_class_the_same_failure_rolls_the_database_back_after_the_200() -> None:
    app = committing_app(fastapi.BackgroundTasks)

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/").status_code == 200

    assert happened == ["failed", "rolled back"]


def test_on_failure_stop_is_starlettes_behaviour_to_the_letter() -> None:
    dispatcher = Dispatcher(on_failure="stop")
    app = committing_app(BackgroundTasks, lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    with TestClient(app) as client, pytest.raises(LookupError):
        client.post("/")

    assert happened == ["failed", "rolled back"]


def test_on_failure_stop_changes_nothing_for_queued_calls(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(fail, "failed")
        return tasks.add_task(charge)

    with TestClient(service(broker, add, on_failure="stop")) as client, pytest.raises(LookupError):
        client.post("/")

    assert broker.queued == ["charge"]


def test_on_failure_stop_leaves_every_keyword_to_the_task() -> None:
    def sync_task(func: int, args: int, self: int) -> None:
        note(f"{func} {args} {self}")

    async def async_task(func: int, args: int, self: int) -> None:
        note(f"{func} {args} {self}")

    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(sync_task, func=1, args=2, self=3)
        return tasks.add_task(async_task, func=1, args=2, self=3)

    with TestClient(service(None, add, on_failure="stop")) as client:
        assert client.post("/").status_code == 200

    assert happened == ["1 2 3", "1 2 3"]


def test_on_failure_stop_runs_each_call_once_though_another_comes_back_from_the_queue(no_broker_url: str) -> None:
    @task(weight=200, on_unavailable="run_here")
    def render() -> None:
        note("rendered")

    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(note, "stays")
        return tasks.add_task(render)

    with TestClient(service(None, add, on_failure="stop", broker_url=no_broker_url)) as client:
        assert client.post("/").status_code == 200

    assert sorted(happened) == ["rendered", "stays"]


# -- retries ------------------------------------------------------------------------------------------------


def test_declared_retries_run_here_too() -> None:
    @task(retries=2, min_backoff_s=0.001)
    async def flaky() -> None:
        note("attempt")
        if len(happened) < 3:
            raise ConnectionError

    with TestClient(service(None, lambda tasks: tasks.add_task(flaky))) as client:
        client.post("/")

    assert happened == ["attempt"] * 3


def test_undeclared_retries_do_not() -> None:
    @task
    async def flaky() -> None:
        note("attempt")
        raise ConnectionError

    with TestClient(service(None, lambda tasks: tasks.add_task(flaky))) as client:
        client.post("/")

    assert happened == ["attempt"]


# -- bounds -------------------------------------------------------------------------------------------------


def test_a_request_that_never_fits_answers_503_takes_nothing_and_asks_for_no_retry(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    def add_three(tasks: BackgroundTasks) -> Ticket:
        for name in ("one", "two", "three"):
            ticket = tasks.add_task(note, name)
        tasks.add_task(charge)
        return ticket

    with TestClient(service(broker, add_three, in_process_waiting=2)) as client:
        response = client.post("/")

    assert response.status_code == 503
    assert response.json()["detail"].endswith("nothing of it was enqueued, and a retry would fare no better")
    assert "Retry-After" not in response.headers
    assert response.headers["Weighbridge-Enqueued"] == "no"
    assert happened == []
    assert broker.queued == []


def test_a_refused_request_leaves_the_room_to_others() -> None:
    count = iter([3, 2, 3, 2])

    def add(tasks: BackgroundTasks) -> Ticket:
        for number in range(next(count)):
            ticket = tasks.add_task(note, str(number))
        return ticket

    with TestClient(service(None, add, in_process_waiting=2)) as client:
        assert [client.post("/").status_code for _ in range(4)] == [503, 200, 503, 200]

    assert happened == ["0", "1", "0", "1"]


# -- the end ------------------------------------------------------------------------------------------------


def test_closing_waits_for_calls_that_wait_or_run() -> None:
    app = service(None, lambda tasks: tasks.add_task(slowly), wait_in_process=False)

    async def slowly() -> None:
        await anyio.sleep(0.05)
        note("done")

    with TestClient(app) as client:
        client.post("/")

    assert happened == ["done"]


def test_what_could_not_finish_in_time_is_reported_by_name(caplog: pytest.LogCaptureFixture) -> None:
    async def forever() -> None:
        await anyio.sleep_forever()

    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(forever)
        return tasks.add_task(note, "never")

    with TestClient(service(None, add, wait_in_process=False, drain_timeout_s=0.02)) as client:
        client.post("/")

    messages = " ".join(record.getMessage() for record in caplog.records)
    assert "in_process.call_not_finished" in messages
    assert "forever" in messages
    assert "in_process.call_not_started" in messages
    assert "happenings.note" in messages
    assert happened == []
