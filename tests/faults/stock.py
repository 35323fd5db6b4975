"""The service and the tasks under plain Dramatiq at stock settings, as its guide shows them: twin of ``ours.py``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from fastapi import BackgroundTasks, FastAPI
from tests.faults import work
from tests.faults.lag import LoopLag

broker = RedisBroker(  # type: ignore[no-untyped-call]  # Dramatiq does not type it
    host="127.0.0.1", port=int(os.environ["FAULTS_BROKER_PORT"]), password=os.environ["FAULTS_BROKER_PASSWORD"]
)
dramatiq.set_broker(broker)
lag = LoopLag()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    lag.start()
    yield
    lag.stop()


app = FastAPI(lifespan=lifespan)


@dramatiq.actor(actor_name="faults.run", max_retries=3, min_backoff=500, max_backoff=2000)
def run(call: str, kind: str, ms: int) -> None:
    work.run(call, kind, ms)


@dramatiq.actor(actor_name="faults.nothing")
def nothing() -> None: ...


def light(call: str) -> None:
    work.run(call, work.Kind.PLAIN, 0)


@app.post("/calls/{call}", status_code=202)
async def add(call: str, kind: str = "plain", ms: int = 0, delay_ms: int = 0) -> None:
    if delay_ms:
        run.send_with_options(args=(call, kind, ms), delay=delay_ms)
    else:
        run.send(call, kind, ms)


@app.post("/timed/{call}", status_code=202)
async def add_timed(call: str) -> None:
    work.note_added(call)
    run.send(call, work.Kind.PLAIN.value, 0)


@app.post("/light/{call}")
async def add_light(call: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(light, call)


@app.post("/or-here/{call}", status_code=202)
async def add_or_here(call: str, tasks: BackgroundTasks) -> None:
    try:
        run.send(call, work.Kind.PLAIN.value, 0)
    except Exception:  # noqa: BLE001  # as services do it by hand: whatever went wrong, the call runs here
        tasks.add_task(light, call)


@app.get("/other")
async def other() -> str:
    return "answered"


@app.get("/lag")
async def loop_lag() -> list[float]:
    return lag.take()
