"""Services that answer in every way there is, and whose requests add two calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from weighbridge import BackgroundTasks, Dispatcher

KINDS = ["whole", "streamed", "raw", "JSONL", "SSE"]


class Happenings(list[str]):
    """What happened, in order; and the two calls that each request adds, of which the first fails."""

    def fail(self) -> None:
        self.append("sync call")
        raise LookupError  # without a dispatcher it would end the second, and reach the request

    async def run(self) -> None:
        self.append("async call")

    def add_to(self, tasks: BackgroundTasks) -> None:
        tasks.add_task(self.fail)
        tasks.add_task(self.run)


CALLS = ["sync call", "async call"]


def answering(app: FastAPI, kind: str, *, is_async: bool, endless: bool = False) -> FastAPI:
    """Give the app an endpoint that answers with ``kind``. An endless answer ends when its client has left."""

    def parts() -> Iterator[str]:
        yield "part"
        while endless:
            yield "part"

    async def async_parts() -> AsyncIterator[str]:
        for part in parts():
            yield part
            await anyio.lowlevel.checkpoint()  # where a cancellation gets through

    def whole() -> str:
        return "part"

    async def async_whole() -> str:
        return "part"

    def streamed() -> Response:
        return StreamingResponse(parts())

    async def async_streamed() -> Response:
        return StreamingResponse(async_parts())

    endpoints: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
        "whole": (whole, async_whole, {}),
        "streamed": (streamed, async_streamed, {}),
        "raw": (parts, async_parts, {"response_class": StreamingResponse}),
        "JSONL": (parts, async_parts, {}),
        "SSE": (parts, async_parts, {"response_class": EventSourceResponse}),
    }
    of_threads, of_loop, options = endpoints[kind]
    app.post("/", **options)(of_loop if is_async else of_threads)
    return app


def adding(happenings: Happenings) -> Any:
    """A dependency that adds the two calls: a generator as an endpoint runs too late for that."""

    async def add(tasks: BackgroundTasks) -> None:
        happenings.add_to(tasks)

    return Depends(add)


def app_of(happenings: Happenings) -> FastAPI:
    """An app whose every request adds the two calls, before its endpoint."""
    dispatcher = Dispatcher()
    return FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate, adding(happenings)])


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request: StarletteRequest, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Stamp"] = "seen"
        return response
