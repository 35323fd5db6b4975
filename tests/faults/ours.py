"""The service and the tasks under weighbridge, as a user writes them. ``stock.py`` is its twin under plain Dramatiq."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from tests.faults import work
from tests.faults.lag import LoopLag

from weighbridge import BackgroundTasks, Dispatcher, task
from weighbridge.lanes.queue.connect import ConnectedBroker, connect

TIMEOUT_S = 0.5


def _broker() -> ConnectedBroker:
    broker = connect(os.environ["FAULTS_BROKER_URL"], namespace=os.environ["FAULTS_NAMESPACE"], timeout_s=TIMEOUT_S)
    assert isinstance(broker, ConnectedBroker)
    broker.lease_s = float(os.environ["FAULTS_LEASE_S"])
    return broker


dispatcher = Dispatcher(broker=_broker(), enqueue_timeout_s=TIMEOUT_S)
lag = LoopLag()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    lag.start()
    async with dispatcher:
        yield
    lag.stop()


app = FastAPI(lifespan=lifespan, dependencies=[dispatcher.gate])


@task(name="faults.run", durable=True, retries=3, min_backoff_s=0.5, max_backoff_s=2)
def run(call: str, kind: str, ms: int) -> None:
    work.run(call, kind, ms)


@task(name="faults.light")
def light(call: str) -> None:
    work.run(call, work.Kind.PLAIN, 0)


@task(name="faults.or_here", weight=80, queue="default", on_unavailable="run_here")
def or_here(call: str) -> None:
    work.run(call, work.Kind.PLAIN, 0)


@task(name="faults.nothing", durable=True)
def nothing() -> None: ...


@app.post("/calls/{call}", status_code=202)
async def add(call: str, tasks: BackgroundTasks, kind: str = "plain", ms: int = 0, delay_ms: int = 0) -> None:
    if delay_ms:
        tasks.options(delay_s=delay_ms / 1000).add_task(run, call, kind, ms)
    else:
        tasks.add_task(run, call, kind, ms)


@app.post("/timed/{call}", status_code=202)
async def add_timed(call: str, tasks: BackgroundTasks) -> None:
    work.note_added(call)
    tasks.add_task(run, call, work.Kind.PLAIN.value, 0)


@app.post("/light/{call}")
async def add_light(call: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(light, call)


@app.post("/or-here/{call}", status_code=202)
async def add_or_here(call: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(or_here, call)


@app.get("/other")
async def other() -> str:
    return "answered"


@app.get("/lag")
async def loop_lag() -> list[float]:
    return lag.take()
