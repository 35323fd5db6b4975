"""A pytest plugin for suites that know nothing of dispatchers: around each request to an app, one is open.

It is copied beside the suite and loaded with ``-p``. What the dispatcher is like, ``WEIGHBRIDGE_*`` says. Every app
is reached by a test client, so that is where the app is wrapped; the client is the tests' own, not the service's.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from weighbridge import Dispatcher


def with_dispatcher(app: Any, ready_made: Dispatcher) -> ASGIApp:
    # Starlette's test client still takes apps of ASGI 2: app(scope)(receive, send).
    is_asgi_2 = len(inspect.signature(app).parameters) == 1

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        async with Dispatcher(policy=ready_made.policy, settings=ready_made.settings) as dispatcher:
            # Requests may be served beside each other, each with a dispatcher of its own; so this says which one.
            scope = {**scope, "state": {**scope.get("state", {}), "weighbridge": dispatcher}}
            await (app(scope)(receive, send) if is_asgi_2 else app(scope, receive, send))

    return around


def wrap_apps_of(client: type[Any]) -> None:
    # Made once: a policy file should not be read on the loop of each request.
    ready_made = Dispatcher()
    stock: Callable[..., None] = client.__init__

    def __init__(self: Any, app: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        stock(self, with_dispatcher(app, ready_made), *args, **kwargs)

    client.__init__ = __init__


def pytest_configure() -> None:
    wrap_apps_of(TestClient)
    for library in ("httpx", "httpx2"):
        if importlib.util.find_spec(library):
            wrap_apps_of(importlib.import_module(library).ASGITransport)
