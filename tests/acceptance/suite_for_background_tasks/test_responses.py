"""Tasks beside responses of every kind, and beside requests that fail."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import create_autospec

import anyio
import pytest
from fastapi import BackgroundTasks, HTTPException, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient

from .service import new_app


def test_status_and_headers_that_the_endpoint_sets_reach_the_client() -> None:
    app = new_app()
    done: list[str] = []

    @app.post("/", status_code=202)
    async def endpoint(response: Response, background_tasks: BackgroundTasks) -> str:
        response.headers["X-Request"] = "7"
        response.set_cookie("seen", "yes")
        background_tasks.add_task(done.append, "done")
        return "accepted"

    with TestClient(app) as client:
        response = client.post("/")
    assert (response.status_code, response.json()) == (202, "accepted")
    assert response.headers["X-Request"] == "7"
    assert response.cookies["seen"] == "yes"
    assert done == ["done"]


def test_a_response_that_the_endpoint_made_itself_does_not_lose_the_tasks() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> Response:
        background_tasks.add_task(done.append, "done")
        return JSONResponse({"made": "by hand"}, status_code=418)

    with TestClient(app) as client:
        assert client.get("/").status_code == 418
    assert done == ["done"]


def test_the_injected_tasks_given_as_the_background_run_once() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> Response:
        background_tasks.add_task(done.append, "done")
        return JSONResponse("ok", background=background_tasks)

    with TestClient(app) as client:
        client.get("/")
    assert done == ["done"]


def test_tasks_that_the_endpoint_made_itself_run() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/")
    async def endpoint() -> Response:
        background_tasks = BackgroundTasks()
        background_tasks.add_task(done.append, "one")
        background_tasks.add_task(done.append, "two")
        return JSONResponse("ok", background=background_tasks)

    with TestClient(app) as client:
        client.get("/")
    assert done == ["one", "two"]


def test_tasks_run_once_a_streamed_response_is_complete() -> None:
    app = new_app()
    events: list[str] = []

    @app.get("/")
    def endpoint(background_tasks: BackgroundTasks) -> StreamingResponse:
        def body() -> Iterator[str]:
            for chunk in "ab":
                events.append(chunk)
                yield chunk

        background_tasks.add_task(events.append, "task")
        return StreamingResponse(body())

    with TestClient(app) as client:
        assert client.get("/").text == "ab"
    assert events == ["a", "b", "task"]


def test_an_http_exception_runs_no_task() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "done")
        raise HTTPException(409, "taken")

    with TestClient(app) as client:
        response = client.get("/")
    assert (response.status_code, response.json()) == (409, {"detail": "taken"})
    assert done == []


def test_an_unexpected_error_runs_no_task_and_reaches_the_test() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/")
    def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "done")
        raise LookupError("no such row")

    with TestClient(app) as client, pytest.raises(LookupError, match="no such row"):
        client.get("/")
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/").status_code == 500
    assert done == []


def test_an_invalid_request_runs_no_task_of_its_dependencies() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/{number}")
    async def endpoint(number: int, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "done")

    with TestClient(app) as client:
        assert client.get("/seven").status_code == 422
    assert done == []


def test_an_endpoint_is_called_like_any_function_and_its_tasks_are_looked_at() -> None:
    sent: list[str] = []

    def send(address: str, *, subject: str) -> None:
        sent.append(f"{address}: {subject}")

    async def endpoint(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(send, "ann", subject="hello")
        return "ok"

    async def call() -> None:
        background_tasks = BackgroundTasks()
        assert await endpoint(background_tasks) == "ok"
        (task,) = background_tasks.tasks
        assert (task.func, task.args, task.kwargs) == (send, ("ann",), {"subject": "hello"})
        await background_tasks()

    anyio.run(call)
    assert sent == ["ann: hello"]


def test_an_endpoint_is_called_with_a_mock_of_the_tasks() -> None:
    def send(address: str) -> None: ...

    def endpoint(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(send, "ann")
        return "ok"

    background_tasks = create_autospec(BackgroundTasks, instance=True)
    assert endpoint(background_tasks) == "ok"
    background_tasks.add_task.assert_called_once_with(send, "ann")
