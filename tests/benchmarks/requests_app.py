"""The same two routes on stock FastAPI and on weighbridge, for ``bench_requests.py``."""

from __future__ import annotations

from typing import Any

import fastapi

import weighbridge


async def nothing_async() -> None: ...


def nothing_sync() -> None: ...


def routes(app: fastapi.FastAPI, tasks_class: Any) -> fastapi.FastAPI:
    async def with_async(tasks: tasks_class) -> dict[str, int]:
        tasks.add_task(nothing_async)
        return {"answer": 1}

    async def with_sync(tasks: tasks_class) -> dict[str, int]:
        tasks.add_task(nothing_sync)
        return {"answer": 1}

    for path, endpoint in (("/async", with_async), ("/sync", with_sync)):
        endpoint.__annotations__["tasks"] = tasks_class
        app.get(path)(endpoint)
    return app


dispatcher = weighbridge.Dispatcher()
stock = routes(fastapi.FastAPI(), fastapi.BackgroundTasks)
ours = routes(
    fastapi.FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate]), weighbridge.BackgroundTasks
)
