"""A websocket's calls run when its handler ends; FastAPI's own class never runs them."""

from __future__ import annotations

import fastapi
import pytest
from fastapi import FastAPI, WebSocket
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from weighbridge import BackgroundTasks, Dispatcher, task

from .broker import MemoryBroker
from .happenings import happened, note

pytestmark = pytest.mark.anyio


async def visit(app: FastAPI, *more: Message) -> None:
    """Serve one websocket as a server does: until the app is done with it. A test client would cancel it."""
    sent: list[Message] = [{"type": "websocket.connect"}, *more]

    async def receive() -> Message:
        return sent.pop(0)

    async def send(message: Message) -> None:
        note(message.get("text") or message["type"])

    await app({"type": "websocket", "path": "/", "headers": [], "query_string": b""}, receive, send)


async def test_a_websockets_calls_are_enqueued_and_run_when_its_handler_ends(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    dispatcher = Dispatcher(broker=broker)
    app = FastAPI(dependencies=[dispatcher.gate])

    @app.websocket("/")
    async def handler(socket: WebSocket, tasks: BackgroundTasks) -> None:
        await socket.accept()
        tasks.add_task(charge)
        tasks.add_task(note, "called")
        await socket.send_text(f"{len(broker.queued)} queued")
        await socket.close()

    async with dispatcher:
        await visit(app)
        # The end of the handler has waited for its chain, whatever wait_in_process says.
        assert happened == ["websocket.accept", "0 queued", "websocket.close", "called"]
    assert broker.queued == ["charge"]


async def test_fastapis_own_class_never_runs_them() -> None:
    app = FastAPI()

    @app.websocket("/")
    async def handler(socket: WebSocket, tasks: fastapi.BackgroundTasks) -> None:
        await socket.accept()
        tasks.add_task(note, "called")
        await socket.close()

    await visit(app)

    assert happened == ["websocket.accept", "websocket.close"]


async def test_a_handler_that_fails_enqueues_and_runs_nothing(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    dispatcher = Dispatcher(broker=broker)
    app = FastAPI(dependencies=[dispatcher.gate])

    @app.websocket("/")
    async def handler(socket: WebSocket, tasks: BackgroundTasks) -> None:
        await socket.accept()
        tasks.add_task(charge)
        tasks.add_task(note, "called")
        raise LookupError

    async with dispatcher:
        with pytest.raises(LookupError):
            await visit(app)
        await dispatcher.join()

    assert (broker.queued, happened) == ([], ["websocket.accept"])


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_without_a_dispatcher_they_run_too() -> None:
    app = FastAPI()

    @app.websocket("/")
    async def handler(socket: WebSocket, tasks: BackgroundTasks) -> None:
        await socket.accept()
        tasks.add_task(note, "called")
        await socket.close()

    await visit(app)

    assert happened == ["websocket.accept", "websocket.close", "called"]


async def test_a_client_that_closes_ends_the_handler_and_its_calls_are_accepted(
    broker: MemoryBroker,
) -> None:
    @task(durable=True)
    def charge() -> None: ...

    dispatcher = Dispatcher(broker=broker)
    app = FastAPI(dependencies=[dispatcher.gate])

    @app.websocket("/")
    async def handler(socket: WebSocket, tasks: BackgroundTasks) -> None:
        await socket.accept()
        tasks.add_task(charge)
        tasks.add_task(note, "called")
        while True:
            await socket.receive_text()  # raises WebSocketDisconnect when the client has closed

    async with dispatcher:
        with pytest.raises(WebSocketDisconnect):
            await visit(app, {"type": "websocket.disconnect", "code": 1000})
        assert happened == ["websocket.accept", "called"]
    assert broker.queued == ["charge"]
