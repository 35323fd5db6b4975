"""Tasks in apps with a lifespan, with middleware, with other apps mounted, and in requests beside each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar

from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response

from .service import new_app

user: ContextVar[str] = ContextVar("user", default="nobody")


def test_a_task_uses_what_the_lifespan_opened() -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.pool = ["open"]
        yield
        app.state.pool.append("closed")

    app = new_app(lifespan=lifespan)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(app.state.pool.append, "used")

    with TestClient(app) as client:
        client.get("/")
        assert app.state.pool == ["open", "used"]
    assert app.state.pool == ["open", "used", "closed"]


def test_a_client_that_does_not_run_the_lifespan_sees_the_tasks_done() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "done")

    client = TestClient(app)
    client.get("/")
    assert done == ["done"]
    client.get("/")
    assert done == ["done", "done"]


def test_tasks_run_behind_middleware() -> None:
    app = new_app()
    done: list[str] = []

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            response = await call_next(request)
            response.headers["X-Stamp"] = "seen"
            return response

    app.add_middleware(Stamp)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "done")

    with TestClient(app) as client:
        assert client.get("/").headers["X-Stamp"] == "seen"
    assert done == ["done"]


def test_tasks_of_a_mounted_app_run() -> None:
    app, mounted = new_app(), FastAPI()
    done: list[str] = []

    @mounted.get("/inner")
    async def inner(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "inner")

    @app.get("/outer")
    async def outer(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "outer")

    app.mount("/mounted", mounted)
    with TestClient(app) as client:
        assert client.get("/mounted/inner").status_code == 200
        assert client.get("/outer").status_code == 200
    assert done == ["inner", "outer"]


def test_context_variables_of_an_async_endpoint_reach_its_tasks() -> None:
    app = new_app()
    seen: list[str] = []

    def sync_task() -> None:
        seen.append(f"sync {user.get()}")

    async def async_task() -> None:
        seen.append(f"async {user.get()}")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        user.set("ann")
        background_tasks.add_task(sync_task)
        background_tasks.add_task(async_task)

    with TestClient(app) as client:
        client.get("/")
    assert seen == ["sync ann", "async ann"]
    assert user.get() == "nobody"


def test_requests_beside_each_other_run_each_task_once() -> None:
    app = new_app()
    done: list[int] = []

    @app.post("/{number}")
    def endpoint(number: int, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, number)
        background_tasks.add_task(done.append, -number)

    with TestClient(app) as client, ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda number: client.post(f"/{number}").status_code, range(1, 41)))
    assert answers == [200] * 40
    assert sorted(done) == sorted([*range(1, 41), *range(-40, 0)])
    assert all(done.index(number) < done.index(-number) for number in range(1, 41))
