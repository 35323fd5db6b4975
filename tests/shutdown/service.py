"""The service under weighbridge, as a user writes it. ``stock.py`` is its twin with stock ``BackgroundTasks``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from tests.shutdown import work
from tests.shutdown.work import Kind

from weighbridge import BackgroundTasks, Dispatcher, current_call, task

work.log_to_file()
dispatcher = Dispatcher()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with work.noted_lifespan(), dispatcher:
        try:
            yield
        finally:
            work.note_ending()


app = FastAPI(lifespan=lifespan, dependencies=[dispatcher.gate])


@task(name="shutdown.sync")
def crossing() -> None:
    work.run(current_call().id)


@task(name="shutdown.async")
async def crossing_async() -> None:
    await work.run_async(current_call().id)


@task(name="shutdown.staying", shares_memory=True)
def staying() -> None:
    work.run(current_call().id)


TASKS: Final[Mapping[Kind, Callable[[], Any]]] = {
    Kind.SYNC: crossing,
    Kind.ASYNC: crossing_async,
    Kind.STAYING: staying,
}


@app.post("/calls", status_code=202)
async def add(kinds: Annotated[list[Kind], Query()], tasks: BackgroundTasks) -> list[str]:
    return [tasks.add_task(TASKS[kind]).id for kind in kinds]


@app.post("/streams")
async def stream(kinds: Annotated[list[Kind], Query()], tasks: BackgroundTasks) -> StreamingResponse:
    return StreamingResponse(work.streamed([tasks.add_task(TASKS[kind]).id for kind in kinds]))
