"""A service with one endpoint, which adds what a test wants added and answers with the lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import dramatiq
from fastapi import FastAPI

from weighbridge import BackgroundTasks, Dispatcher, Ticket
from weighbridge.settings import SettingsArguments


def service(
    broker: dramatiq.Broker | None,
    add: Callable[[BackgroundTasks], Ticket],
    *,
    policy: str = "by-weight",
    **settings: Unpack[SettingsArguments],
) -> FastAPI:
    """Calls of the service have ended when a test client has its response, unless ``settings`` say otherwise."""
    settings.setdefault("wait_in_process", True)
    dispatcher = Dispatcher(broker=broker, policy=policy, **settings)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> str:
        return add(tasks).lane

    return app
