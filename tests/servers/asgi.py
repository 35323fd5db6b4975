"""A server as small as it gets: it serves one request of an app, and its client can leave at any moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from fastapi import FastAPI
from starlette.requests import Request as StarletteRequest
from starlette.types import ASGIApp, Message, Scope

#: Seconds after which what does not happen has failed; no test waits so long for what does.
PATIENCE_S = 20


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, and what its client has seen of the answer."""

    path: str = "/"
    #: The version of ASGI that the server speaks. From 2.4 on it raises ``OSError`` when it sends to a client that
    #: has left; before, it tells that by ``receive`` alone.
    spec_version: str = "2.3"
    #: The statuses, and the parts of the body. Nothing is added once the client has left.
    seen: list[str] = field(default_factory=list)
    left: anyio.Event = field(default_factory=anyio.Event)
    #: Called with each thing that is seen, as soon as it is.
    on_seen: Callable[[str], object] | None = None

    def leave(self) -> None:
        """The client closes its connection."""
        self.left.set()

    async def serve(self, app: ASGIApp) -> None:
        """Have the app answer; returns when the app is done with the request. Raises what the app raises."""
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if not asked and not self.left.is_set():
                asked = True
                return {"type": "http.request"}
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if self.left.is_set():
                if self.spec_version >= "2.4":
                    raise OSError("the client has left")
                return
            if message["type"] == "http.response.start":
                self._see(str(message["status"]))
            else:
                if message.get("body"):
                    self._see(message["body"].decode())
                if not message.get("more_body"):
                    self._see("end")

        await app(self._scope(), receive, send)

    def _see(self, what: str) -> None:
        self.seen.append(what)
        if self.on_seen is not None:
            self.on_seen(what)

    def _scope(self) -> Scope:
        return {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "headers": [],
            "query_string": b"",
            "asgi": {"version": "3.0", "spec_version": self.spec_version},
        }


async def serve_websocket(app: ASGIApp) -> None:
    """Have the app serve one websocket whose client says nothing; returns when the app is done with it."""

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None: ...

    await app({"type": "websocket", "path": "/", "headers": [], "query_string": b""}, receive, send)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """The app's lifespan, on the running event loop."""
    async with app.router.lifespan_context(app):
        yield


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    with anyio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what happens on threads and in sockets sets no event
            await anyio.sleep(0.001)


async def until_left(request: StarletteRequest) -> None:
    """Return once the app has heard that the client of ``request`` has left; the request's body is gone then too."""
    with anyio.fail_after(PATIENCE_S):
        # Not is_disconnected(), which never finds out behind a BaseHTTPMiddleware.
        while (await request.receive())["type"] != "http.disconnect":
            pass
