"""Calls run after every kind of response, behind middleware, in mounted apps, and in apps beside one another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.integration.responding import CALLS, KINDS, Happenings, Stamp, adding, answering, app_of
from tests.servers.uvicorn_thread import PATIENCE_S, post, uvicorn_serving

from weighbridge import BackgroundTasks, Dispatcher

pytestmark = pytest.mark.usefixtures("only_own_tasks")

Backend = Literal["asyncio", "trio"]
on_each_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])
of_each_kind = pytest.mark.parametrize("kind", KINDS)
sync_and_async = pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])


class Watched:
    """The outermost middleware: it says when the last byte was sent."""

    def __init__(self, app: ASGIApp, happenings: Happenings) -> None:
        self.app = app
        self.happenings = happenings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.happenings.append("last byte")

        await self.app(scope, receive, watched)


# -- the kinds of response ----------------------------------------------------------------------------------


@on_each_backend
@of_each_kind
@sync_and_async
def test_calls_run_once_the_last_byte_is_sent(backend: Backend, kind: str, is_async: bool) -> None:
    happenings = Happenings()
    app = answering(app_of(happenings), kind, is_async=is_async)

    with TestClient(Watched(app, happenings), backend=backend) as client:
        response = client.post("/")

    assert (response.status_code, response.text.count("part")) == (200, 1)
    assert happenings == ["last byte", *CALLS]


@on_each_backend
@of_each_kind
@pytest.mark.parametrize("middleware", ["BaseHTTPMiddleware", "GZip", "CORS", "all"])
def test_calls_run_behind_middleware(backend: Backend, kind: str, middleware: str) -> None:
    happenings = Happenings()
    app = answering(app_of(happenings), kind, is_async=True)
    expected: dict[str, str] = {}
    if middleware in ("GZip", "all"):
        app.add_middleware(GZipMiddleware, minimum_size=0)
        # What a client should see at once is not held back to be compressed.
        expected |= {} if kind == "SSE" else {"Content-Encoding": "gzip"}
    if middleware in ("CORS", "all"):
        app.add_middleware(CORSMiddleware, allow_origins=["*"])
        expected |= {"Access-Control-Allow-Origin": "*"}
    if middleware in ("BaseHTTPMiddleware", "all"):
        app.add_middleware(Stamp)
        expected |= {"X-Stamp": "seen"}

    with TestClient(Watched(app, happenings), backend=backend) as client:
        response = client.post("/", headers={"Origin": "https://example.com"})

    assert {name: response.headers.get(name) for name in expected} == expected
    assert response.text.count("part") == 1
    assert happenings == ["last byte", *CALLS]


# -- apps in apps, and beside one another -------------------------------------------------------------------


def mounting(outer: str, inner: ASGIApp, dispatcher: Dispatcher) -> ASGIApp:
    if outer == "Starlette":
        return Starlette(routes=[Mount("/inner", inner)], lifespan=dispatcher.lifespan)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])
    app.mount("/inner", inner)
    return app


def starlette_app(happenings: Happenings, *, is_async: bool, streams: bool = False, **options: Any) -> Starlette:
    """A plain Starlette app, whose endpoint makes its facade by hand."""

    def respond(tasks: BackgroundTasks) -> Response:
        if streams:
            return StreamingResponse(iter(["part"]), background=tasks)
        return PlainTextResponse("part", background=tasks)

    async def of_loop(request: StarletteRequest) -> Response:
        async with BackgroundTasks() as tasks:
            happenings.add_to(tasks)
        return respond(tasks)

    def of_threads(request: StarletteRequest) -> Response:
        with BackgroundTasks() as tasks:
            happenings.add_to(tasks)
        return respond(tasks)

    return Starlette(routes=[Route("/", of_loop if is_async else of_threads, methods=["POST"])], **options)


@on_each_backend
@sync_and_async
@pytest.mark.parametrize("inner", ["FastAPI", "Starlette"])
@pytest.mark.parametrize("outer", ["FastAPI", "Starlette"])
def test_calls_of_a_mounted_app_run_in_the_lane_of_the_outer_one(
    backend: Backend, is_async: bool, outer: str, inner: str
) -> None:
    happenings = Happenings()
    if inner == "FastAPI":
        mounted: ASGIApp = answering(FastAPI(dependencies=[adding(happenings)]), "whole", is_async=is_async)
    else:
        mounted = starlette_app(happenings, is_async=is_async)
    app = mounting(outer, mounted, Dispatcher())

    with TestClient(Watched(app, happenings), backend=backend) as client:
        assert client.post("/inner/").status_code == 200

    assert happenings == ["last byte", *CALLS]


@on_each_backend
@sync_and_async
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_calls_of_plain_starlette_run_once_the_last_byte_is_sent(
    backend: Backend, is_async: bool, streams: bool
) -> None:
    happenings = Happenings()
    app = starlette_app(happenings, is_async=is_async, streams=streams, lifespan=Dispatcher().lifespan)

    with TestClient(Watched(app, happenings), backend=backend) as client:
        assert client.post("/").text == "part"

    assert happenings == ["last byte", *CALLS]


@on_each_backend
def test_apps_on_one_loop_run_their_calls_each_by_the_settings_of_its_own_dispatcher(backend: Backend) -> None:
    ran = {"continue": Happenings(), "stop": Happenings(), "waits": Happenings()}
    dispatchers = {
        "continue": Dispatcher(),
        "stop": Dispatcher(on_failure="stop"),
        "waits": Dispatcher(wait_in_process=True),
    }

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with dispatchers["continue"], dispatchers["stop"], dispatchers["waits"]:
            yield

    app = FastAPI(lifespan=lifespan)
    for name, dispatcher in dispatchers.items():
        mounted = FastAPI(dependencies=[dispatcher.gate, adding(ran[name])])
        app.mount(f"/{name}", answering(mounted, "whole", is_async=True))

    with TestClient(app, backend=backend) as client:
        client.post("/continue/")
        with pytest.raises(LookupError):
            client.post("/stop/")
        client.post("/waits/")
        assert ran["waits"] == CALLS

    assert (ran["continue"], ran["stop"]) == (CALLS, CALLS[:1])


def test_apps_on_loops_of_their_own_run_their_calls_each_on_its_own() -> None:
    loops: dict[str, set[int]] = {"one": set(), "two": set()}

    def app_named(name: str) -> FastAPI:
        dispatcher = Dispatcher()
        app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

        async def note_loop() -> None:
            loops[name].add(id(asyncio.get_running_loop()))

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks) -> None:
            await note_loop()
            tasks.add_task(note_loop)
            tasks.add_task(ran[name].release)

        return app

    ran = {name: threading.Semaphore(0) for name in loops}
    with uvicorn_serving(app_named("one")) as one, uvicorn_serving(app_named("two")) as two:
        for port in (one, two, one, two):
            assert post(port)[0] == 200
        for semaphore in ran.values():
            assert all(semaphore.acquire(timeout=PATIENCE_S) for _ in range(2))

    assert [len(seen) for seen in loops.values()] == [1, 1]
    assert not loops["one"] & loops["two"]
