"""Tasks that were added, and of which nobody hears again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
from fastapi import BackgroundTasks, Depends, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from tests.servers.asgi import Request, opened, serve_websocket

from .side import Side

user: ContextVar[str] = ContextVar("user", default="nobody")


def what_runs_beside_a_background_of_the_responses_own(side: Side) -> str:
    """A dependency adds a task; the endpoint returns a response that has one already."""
    app = side.new_app()
    ran: list[str] = []

    @side.injects
    async def audit(tasks: BackgroundTasks) -> None:
        tasks.add_task(ran.append, "audit")

    @app.post("/", dependencies=[Depends(audit)])
    async def export() -> Response:
        return JSONResponse("ok", background=BackgroundTask(ran.append, "clean up"))

    with TestClient(app) as client:
        client.post("/")
    return " and ".join(sorted(ran))


def what_a_websocket_runs(side: Side) -> str:
    """A handler of a websocket adds a task, and ends."""
    app = side.new_app()
    ran: list[str] = []

    @app.websocket("/")
    @side.injects
    async def chat(socket: WebSocket, tasks: BackgroundTasks) -> None:
        await socket.accept()
        tasks.add_task(ran.append, "transcript")
        await socket.close()

    async def main() -> None:
        async with opened(app):
            await serve_websocket(app)

    anyio.run(main)
    return " and ".join(ran) or "nothing"


def what_a_client_that_leaves_takes_along(side: Side) -> str:
    """A client leaves in the middle of a download, and a server of ASGI 2.4 tells that to the app."""
    app = side.new_app()
    ran: list[str] = []

    async def parts() -> AsyncIterator[str]:
        while True:
            yield "part"
            await anyio.lowlevel.checkpoint()

    @app.post("/")
    @side.injects
    async def download(tasks: BackgroundTasks) -> Response:
        tasks.add_task(ran.append, "count the download")
        return StreamingResponse(parts())

    async def main() -> None:
        request = Request(spec_version="2.4", on_seen=lambda seen: request.leave() if seen == "part" else None)
        async with opened(app):
            with suppress(ClientDisconnect):  # which a server expects, for it has said so itself
                await request.serve(app)

    anyio.run(main)
    return " and ".join(ran) or "nothing"


def who_a_task_works_for(side: Side) -> str:
    """A sync endpoint says in a context variable whom it serves; a task asks for it."""
    app = side.new_app()
    seen: list[str] = []

    def note_user() -> None:
        seen.append(user.get())

    @app.post("/")
    @side.injects
    def order(tasks: BackgroundTasks) -> None:
        user.set("ann")
        tasks.add_task(note_user)

    with TestClient(app) as client:
        client.post("/")
    return " and ".join(seen)


def what_add_task_gives(side: Side) -> str:
    """An endpoint asks for a class that extends FastAPI's by an id for each task, to tell it to its client."""
    app = side.new_app()

    async def order(tasks: Any) -> dict[str, bool]:
        ticket = tasks.add_task(print, end="")
        return {"has an id": ticket is not None}

    order.__annotations__["tasks"] = side.extended
    app.post("/")(order)

    with TestClient(app) as client:
        answer = client.post("/").json()
    return "an id" if answer["has an id"] else "nothing"


def what_becomes_of_an_item_of_ones_own(side: Side) -> str:
    """An object that can be called, as those of ``.tasks`` can, is put between two tasks."""
    app = side.new_app()
    ran: list[str] = []

    class Flush:
        async def __call__(self) -> None:
            ran.append("flush")

    @app.post("/")
    @side.injects
    async def order(tasks: BackgroundTasks) -> None:
        tasks.add_task(ran.append, "confirm")
        items: list[Any] = tasks.tasks
        items.append(Flush())
        tasks.add_task(ran.append, "count")

    with TestClient(app, raise_server_exceptions=False) as client:
        client.post("/")
    return f"ran {' and '.join(ran)}"


def how_often_a_kept_response_works(side: Side) -> str:
    """A service keeps a response with its tasks, as a cache does, and gives it twice."""
    ran: list[str] = []

    async def main() -> str:
        async with opened(side.new_app()):
            tasks = side.new_tasks()
            tasks.add_task(ran.append, "charge")
            response = JSONResponse("ok", background=tasks)
            await Request().serve(response)
            try:
                await Request().serve(response)
            except RuntimeError as error:
                return type(error).__name__
            return "no error"

    told = anyio.run(main)
    return f"{len(ran)} run, {told}"


def what_becomes_of_a_task_that_is_added_too_late(side: Side) -> str:
    """A dependency adds a task when it closes, after its ``yield``: the response has been sent by then."""
    app = side.new_app()
    ran: list[str] = []

    @side.injects
    async def timed(tasks: BackgroundTasks) -> AsyncIterator[None]:
        yield
        tasks.add_task(ran.append, "report the time")

    @app.post("/", dependencies=[Depends(timed)])
    async def order() -> None: ...

    with TestClient(app) as client:
        try:
            client.post("/")
        except RuntimeError as error:
            return type(error).__name__
    return " and ".join(ran) or "nothing"
