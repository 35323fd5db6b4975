"""Accepted calls run though the client leaves before, during or after the response, however the server tells that."""

from __future__ import annotations

import gc
import threading
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from fastapi import Depends
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from tests.integration.responding import CALLS, KINDS, Happenings, Stamp, answering, app_of
from tests.servers.asgi import Request, opened, until_left
from tests.servers.uvicorn_thread import PATIENCE_S, connected, read_until, uvicorn_serving

pytestmark = pytest.mark.usefixtures("only_own_tasks")

Backend = Literal["asyncio", "trio"]
on_each_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])
of_each_kind = pytest.mark.parametrize("kind", KINDS)
sync_and_async = pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])


# Starlette and FastAPI leave generators behind when a client leaves, which Trio mentions.
@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
@pytest.mark.parametrize("moment", ["before", "during", "after"])
@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("middleware", [None, Stamp], ids=["bare", "BaseHTTPMiddleware"])
@on_each_backend
@of_each_kind
@sync_and_async
def test_calls_run_though_the_client_leaves(
    backend: Backend, kind: str, is_async: bool, middleware: Any, spec_version: str, moment: str
) -> None:
    happenings = Happenings()
    app = answering(app_of(happenings), kind, is_async=is_async, endless=moment != "after" and kind != "whole")
    if middleware is not None:
        app.add_middleware(middleware)
    leaves_at = {"before": "", "during": "200", "after": "end"}[moment]

    async def main() -> None:
        def leave(seen: str) -> None:
            if seen == leaves_at:
                request.leave()

        request = Request(spec_version=spec_version, on_seen=leave)
        if moment == "before":
            request.leave()
        async with opened(app):
            try:
                await request.serve(app)
            except* (ClientDisconnect, OSError):  # how a server of ASGI 2.4 says it, and an app passes it on
                assert spec_version == "2.4"
            except* anyio.BrokenResourceError:  # which FastAPI lets out of a stream of its own
                assert kind == "SSE"
        gc.collect()  # now, while it is clear whose generators those are
        assert request.seen[-1:] == {"before": [], "during": ["200"], "after": ["end"]}[moment]

    anyio.run(main, backend=backend)
    assert happenings == CALLS


@of_each_kind
@sync_and_async
@pytest.mark.parametrize("middleware", [None, Stamp], ids=["bare", "BaseHTTPMiddleware"])
@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_calls_run_though_the_client_of_a_real_server_leaves(
    kind: str, is_async: bool, middleware: Any, moment: str
) -> None:
    happenings = Happenings()
    app = app_of(happenings)
    arrived = threading.Event()

    async def wait_for_it(request: StarletteRequest) -> None:
        arrived.set()
        if moment == "before":
            await until_left(request)

    app.router.dependencies.append(Depends(wait_for_it))
    answering(app, kind, is_async=is_async, endless=moment == "during" and kind != "whole")
    if middleware is not None:
        app.add_middleware(middleware)

    with uvicorn_serving(app) as port, connected(port) as client:
        assert arrived.wait(PATIENCE_S)
        if moment == "during":
            read_until(client, b"HTTP/1.1 200")
        elif moment == "after":
            read_until(client, b"part")

    assert happenings == CALLS
