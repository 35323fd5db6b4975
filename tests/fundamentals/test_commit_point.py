"""Queued calls reach the broker after the endpoint has succeeded and before the first byte of the response.

So 2xx means that the broker has them, and after anything else nothing of the request runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import dramatiq
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask

from weighbridge import BackgroundTasks, Dispatcher, Ticket, task
from weighbridge.errors import CommittedError, EnqueueError

from .broker import MemoryBroker
from .happenings import happened, note
from .service import service


@pytest.fixture
def charge(nothing_of_other_tests: None) -> Any:
    """A task that is queued, and a function that stays: what most tests here add."""

    @task(durable=True, name="charge")
    def charge(order: int) -> None: ...

    return charge


class SilentBroker(MemoryBroker):
    """Takes a message, and its answer gets lost."""

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        super().enqueue(message, delay=delay)
        raise TimeoutError


def app_with(dispatcher: Dispatcher) -> FastAPI:
    return FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


def test_the_broker_has_the_calls_before_the_first_byte_is_sent(broker: MemoryBroker, charge: Any) -> None:
    app = service(broker, lambda tasks: tasks.add_task(charge, 7))
    queued_at_first_byte: list[list[str]] = []

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                queued_at_first_byte.append(broker.queued)
            await send(message)

        await app(scope, receive, watched)

    with TestClient(watching) as client:
        assert client.post("/").status_code == 200

    assert queued_at_first_byte == [["charge"]]


@pytest.mark.parametrize("failure", ["HTTPException", "unexpected", "invalid response", "invalid request"])
def test_a_request_that_fails_enqueues_and_runs_nothing(failure: str, broker: MemoryBroker, charge: Any) -> None:
    dispatcher = Dispatcher(broker=broker, wait_in_process=True)
    app = app_with(dispatcher)

    async def added_before(tasks: BackgroundTasks) -> None:
        tasks.add_task(charge, 1)
        tasks.add_task(note, "stays")

    @app.post("/{number}", dependencies=[Depends(added_before)], response_model=int)
    async def endpoint(number: int, tasks: BackgroundTasks) -> Any:
        tasks.add_task(charge, 2)
        if failure == "HTTPException":
            raise HTTPException(409)
        if failure == "unexpected":
            raise LookupError
        return "no number"

    with TestClient(app) as client:
        match failure:
            case "HTTPException":
                assert client.post("/1").status_code == 409
            case "unexpected":
                with pytest.raises(LookupError):
                    client.post("/1")
            case "invalid response":
                with pytest.raises(ResponseValidationError):
                    client.post("/1")
            case _:
                assert client.post("/one").status_code == 422

    assert broker.queued == []
    assert happened == []


def test_a_4xx_that_the_endpoint_returns_is_its_answer_and_no_failure(broker: MemoryBroker, charge: Any) -> None:
    dispatcher = Dispatcher(broker=broker, wait_in_process=True)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> Response:
        tasks.add_task(charge, 1)
        tasks.add_task(note, "stays")
        return JSONResponse({}, status_code=409)

    with TestClient(app) as client:
        assert client.post("/").status_code == 409

    assert broker.queued == ["charge"]
    assert happened == ["stays"]


def test_without_the_broker_the_answer_is_503_and_nothing_runs(no_broker_url: str, charge: Any) -> None:
    dispatcher = Dispatcher(broker_url=no_broker_url, wait_in_process=True)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> str:
        tasks.add_task(note, "stays")
        return tasks.add_task(charge, 7).lane

    with TestClient(app) as client:
        response = client.post("/")

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers["Weighbridge-Enqueued"] == "no"
    assert "a retry is safe" in response.json()["detail"]
    assert happened == []


def test_a_lost_reply_answers_503_and_says_that_the_calls_may_be_queued(charge: Any) -> None:
    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(note, "stays")
        return tasks.add_task(charge, 7)

    with TestClient(service(SilentBroker(), add)) as client:
        response = client.post("/")

    assert response.status_code == 503
    assert response.headers["Weighbridge-Enqueued"] == "unknown"
    assert "a retry may run them twice" in response.json()["detail"]
    assert happened == []


def test_a_call_whose_fate_is_unknown_never_runs_here() -> None:
    @task(weight=200, on_unavailable="run_here")
    def render() -> None:
        note("rendered")

    with TestClient(service(SilentBroker(), lambda tasks: tasks.add_task(render))) as client:
        assert client.post("/").status_code == 503

    assert happened == []


def test_a_handler_of_the_services_own_may_answer_instead(no_broker_url: str, charge: Any) -> None:
    app = service(None, lambda tasks: tasks.add_task(charge, 7), broker_url=no_broker_url)

    @app.exception_handler(EnqueueError)
    async def answer(request: Request, error: EnqueueError) -> Response:
        return JSONResponse({"later": error.retry_after_s}, status_code=507)

    with TestClient(app) as client:
        response = client.post("/")

    assert (response.status_code, response.json()["later"] > 0) == (507, True)


def test_items_that_were_put_into_tasks_by_hand_run_too(broker: MemoryBroker) -> None:
    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.tasks.append(BackgroundTask(note, "by hand"))
        return tasks.add_task(note, "added")

    with TestClient(service(broker, add, policy="all-queued")) as client:
        client.post("/")

    assert happened == ["by hand", "added"]


def test_without_the_broker_what_need_not_be_queued_is_served(no_broker_url: str, charge: Any) -> None:
    with TestClient(service_that_stays(no_broker_url)) as client:
        assert client.post("/").json() == "in_process"

    assert happened == ["stays"]


def service_that_stays(broker_url: str) -> FastAPI:
    return service(None, lambda tasks: tasks.add_task(note, "stays"), broker_url=broker_url)


def test_a_task_may_run_here_if_the_broker_certainly_did_not_take_it(no_broker_url: str) -> None:
    @task(weight=200, on_unavailable="run_here")
    def render(pages: int) -> None:
        note(f"{pages} pages")

    app = service(None, lambda tasks: tasks.add_task(render, 7), broker_url=no_broker_url)
    with TestClient(app) as client:
        response = client.post("/")

    assert response.status_code == 200
    assert happened == ["7 pages"]


def test_what_runs_here_instead_runs_in_the_order_added(no_broker_url: str) -> None:
    @task(weight=200, on_unavailable="run_here")
    def render(page: int) -> None:
        note(f"page {page}")

    def add(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(note, "first")
        tasks.add_task(render, 1)
        tasks.add_task(note, "second")
        return tasks.add_task(render, 2)

    with TestClient(service(None, add, broker_url=no_broker_url)) as client:
        assert client.post("/").status_code == 200

    assert happened == ["first", "page 1", "second", "page 2"]


def test_one_call_that_must_not_run_here_refuses_the_whole_request(no_broker_url: str, charge: Any) -> None:
    @task(weight=200, on_unavailable="run_here")
    def render() -> None:
        note("rendered")

    def add_both(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(render)
        return tasks.add_task(charge, 7)

    with TestClient(service(None, add_both, broker_url=no_broker_url)) as client:
        assert client.post("/").status_code == 503

    assert happened == []


def test_calls_can_be_committed_early_on_purpose(broker: MemoryBroker, charge: Any) -> None:
    dispatcher = Dispatcher(broker=broker)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> list[str]:
        tasks.add_task(charge, 7)
        await tasks.commit()
        return broker.queued

    with TestClient(app) as client:
        assert client.post("/").json() == ["charge"]

    assert broker.queued == ["charge"]  # and not once more at the commit point


def test_an_endpoint_can_answer_a_failed_early_commit_itself(no_broker_url: str, charge: Any) -> None:
    dispatcher = Dispatcher(broker_url=no_broker_url)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> str:
        tasks.add_task(charge, 7)
        try:
            await tasks.commit()
        except EnqueueError as error:
            tasks.discard()
            return f"unknown: {error.unknown}"
        return "committed"

    with TestClient(app) as client:
        response = client.post("/")

    assert (response.status_code, response.json()) == (200, "unknown: False")


def test_a_failed_early_commit_that_the_endpoint_swallows_is_still_no_success(no_broker_url: str, charge: Any) -> None:
    dispatcher = Dispatcher(broker_url=no_broker_url)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        tasks.add_task(charge, 7)
        with contextlib.suppress(EnqueueError):
            await tasks.commit()

    with TestClient(app) as client:
        assert client.post("/").status_code == 503


def test_nothing_can_be_added_after_the_commit(broker: MemoryBroker, charge: Any) -> None:
    dispatcher = Dispatcher(broker=broker)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        await tasks.commit()
        tasks.add_task(charge, 7)

    with TestClient(app) as client, pytest.raises(CommittedError, match="after the commit"):
        client.post("/")

    assert broker.queued == []


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_streaming_endpoint_that_adds_a_task_after_the_commit_is_told(
    kind: str, broker: MemoryBroker, charge: Any
) -> None:
    dispatcher = Dispatcher(broker=broker)
    app = app_with(dispatcher)

    @app.get("/async", response_class=StreamingResponse)
    async def stream(tasks: BackgroundTasks) -> AsyncIterator[str]:
        yield "first"
        tasks.add_task(charge, 7)
        yield "never"

    @app.get("/sync")
    def stream_lines(tasks: BackgroundTasks) -> Iterator[int]:
        yield 1
        tasks.add_task(note, "stays")
        yield 2

    with TestClient(app) as client, pytest.raises(CommittedError, match=r"dispatcher\.tasks\(\)"):
        client.get(f"/{kind}")

    assert broker.queued == []


def test_a_background_of_the_responses_own_loses_none_of_the_calls(broker: MemoryBroker, charge: Any) -> None:
    dispatcher = Dispatcher(broker=broker, wait_in_process=True)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> Response:
        tasks.add_task(charge, 7)
        tasks.add_task(note, "injected")
        own = BackgroundTasks()
        own.add_task(note, "own")
        return JSONResponse("ok", background=own)

    with TestClient(app) as client:
        assert client.post("/").status_code == 200

    assert broker.queued == ["charge"]
    assert sorted(happened) == ["injected", "own"]


def test_the_facade_itself_as_the_background_runs_its_calls_once(broker: MemoryBroker, charge: Any) -> None:
    dispatcher = Dispatcher(broker=broker, wait_in_process=True)
    app = app_with(dispatcher)

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> Response:
        tasks.add_task(charge, 7)
        tasks.add_task(note, "injected")
        return JSONResponse("ok", background=tasks)

    with TestClient(app) as client:
        client.post("/")

    assert broker.queued == ["charge"]
    assert happened == ["injected"]


def test_a_dependency_and_the_endpoint_commit_together(broker: MemoryBroker, charge: Any) -> None:
    dispatcher = Dispatcher(broker=broker)
    app = app_with(dispatcher)

    def audit(tasks: BackgroundTasks) -> None:
        tasks.add_task(charge, 1)

    @app.post("/", dependencies=[Depends(audit)])
    def endpoint(tasks: BackgroundTasks) -> None:
        tasks.add_task(charge, 2)

    with TestClient(app) as client:
        client.post("/")

    assert [message.args for message in broker.messages()] == [(1,), (2,)]


def test_arguments_that_do_not_survive_the_queue_are_refused_in_the_request(broker: MemoryBroker) -> None:
    @task(durable=True)
    def pay(cents: int) -> None: ...

    app = service(broker, lambda tasks: tasks.add_task(pay, "seven"))  # type: ignore[arg-type]  # that is the test
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/").status_code == 500

    assert broker.queued == []
