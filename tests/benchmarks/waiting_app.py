"""The same routes on stock FastAPI and on weighbridge, for benchmarks of calls that wait."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import fastapi

import weighbridge


class Counts:
    """Of this process: calls added and ended, and sessions that are open."""

    def __init__(self) -> None:
        self.added = self.ended = self.sessions = 0
        self.lock = threading.Lock()


counts = Counts()
nap_s = float(os.environ.get("WAITING_NAP_S", "1"))
#: Cuts naps short between two rounds.
wake_up = threading.Event()


def nap(number: int) -> None:
    """A sync call that keeps its thread for a second, as one that waits for another service."""
    wake_up.wait(nap_s)
    with counts.lock:
        counts.ended += 1


async def session() -> AsyncIterator[int]:
    """A database session of a request, as FastAPI's documentation shows it."""
    counts.sessions += 1
    try:
        yield counts.sessions
    finally:
        counts.sessions -= 1


def resident_bytes() -> int:
    """What the system counts as this process's memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def routes(app: fastapi.FastAPI, tasks_class: Any) -> fastapi.FastAPI:
    async def add(number: int, tasks: tasks_class) -> None:
        counts.added += 1
        tasks.add_task(nap, number)

    async def add_with_session(
        number: int, tasks: tasks_class, opened: Annotated[int, fastapi.Depends(session)]
    ) -> None:
        counts.added += 1
        tasks.add_task(nap, number)

    for path, endpoint in (("/calls/{number}", add), ("/with-session/{number}", add_with_session)):
        endpoint.__annotations__["tasks"] = tasks_class
        app.post(path, status_code=202)(endpoint)

    @app.get("/sync")
    def sync() -> str:
        return "answered"

    @app.get("/counts")
    async def count() -> dict[str, int]:
        return {"waiting": counts.added - counts.ended, "sessions": counts.sessions}

    @app.get("/memory")
    async def memory() -> dict[str, int]:
        gc.collect()
        return {"traced": tracemalloc.get_traced_memory()[0], "resident": resident_bytes()}

    @app.post("/wake-up")
    async def wake() -> None:
        wake_up.set()

    @app.post("/nap-again")
    async def nap_again() -> None:
        wake_up.clear()

    return app


dispatcher = weighbridge.Dispatcher()
stock = routes(fastapi.FastAPI(), fastapi.BackgroundTasks)
ours = routes(
    fastapi.FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate]), weighbridge.BackgroundTasks
)
