"""The service with stock ``BackgroundTasks``: twin of ``service.py``."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import BackgroundTasks, FastAPI, Query
from fastapi.responses import StreamingResponse
from tests.shutdown import work
from tests.shutdown.work import Kind

work.log_to_file()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with work.noted_lifespan():
        try:
            yield
        finally:
            work.note_ending()


app = FastAPI(lifespan=lifespan)

TASKS: Final[Mapping[Kind, Callable[[str], Any]]] = {
    Kind.SYNC: work.run,
    Kind.ASYNC: work.run_async,
    Kind.STAYING: work.run,
}


def added(kinds: list[Kind], tasks: BackgroundTasks) -> list[str]:
    calls = [str(uuid.uuid4()) for _ in kinds]
    for kind, call in zip(kinds, calls, strict=True):
        tasks.add_task(TASKS[kind], call)
    return calls


@app.post("/calls", status_code=202)
async def add(kinds: Annotated[list[Kind], Query()], tasks: BackgroundTasks) -> list[str]:
    return added(kinds, tasks)


@app.post("/streams")
async def stream(kinds: Annotated[list[Kind], Query()], tasks: BackgroundTasks) -> StreamingResponse:
    return StreamingResponse(work.streamed(added(kinds, tasks)))
