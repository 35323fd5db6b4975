"""How the suite's services are made once they have a dispatcher: its lifespan and its gate, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from weighbridge import Dispatcher


def new_app(*, lifespan: Any = None, **options: Any) -> FastAPI:
    dispatcher = Dispatcher(policy="by-weight")

    @asynccontextmanager
    async def both(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app), dispatcher:
            yield

    return FastAPI(lifespan=both if lifespan else dispatcher.lifespan, dependencies=[dispatcher.gate], **options)
