"""A service that reports to Sentry, with the SDK as it comes; its events go into a file.

``main(FILE, WHERE…)``: one request, or one run outside of any, after the other. It is for a program of its own, because
the SDK changes classes of the whole process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import dramatiq
import sentry_sdk
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.transport import Transport

from weighbridge import BackgroundTasks, Dispatcher, task

#: Where events are written, and what is on.
file_of: list[Path] = []
now: list[str] = []


class ToFile(Transport):
    """Writes what a reader of Sentry would see, one event a line; no connection is made."""

    def capture_envelope(self, envelope: Envelope) -> None:
        event: Any = envelope.get_event()
        if event is not None:
            with file_of[0].open("a", encoding="utf-8") as file:
                file.write(json.dumps({"where": now[-1], "event": event}, default=str) + "\n")


sentry_sdk.init(dsn="https://public@sentry.invalid/1", transport=ToFile)


class DeclinedError(Exception):
    """What a failing task raises."""


def fail() -> None:
    raise DeclinedError("card 1 was declined")


async def fail_async() -> None:
    await asyncio.sleep(0)
    raise DeclinedError("card 1 was declined")


@task(shares_memory=True, retries=2, min_backoff_s=0.001)
def fail_thrice() -> None:
    raise DeclinedError("card 1 was declined")


@task(durable=True, retries=1, min_backoff_s=0.001, max_backoff_s=0.001)
def fail_twice_in_a_worker() -> None:
    raise DeclinedError("card 1 was declined")


def succeed() -> None: ...


async def succeed_async() -> None:
    await asyncio.sleep(0)


FAILING: Final[dict[str, Callable[[], Any]]] = {"sync": fail, "async": fail_async, "retried": fail_thrice}


def app_of(on_failure: Literal["continue", "stop"], *, wait: bool) -> FastAPI:
    dispatcher = Dispatcher(on_failure=on_failure, wait_in_process=wait)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/async/{kind}")
    async def on_the_loop(kind: str, tasks: BackgroundTasks) -> None:
        add_to(tasks, kind)

    @app.post("/sync/{kind}")
    def on_a_thread(kind: str, tasks: BackgroundTasks) -> None:
        add_to(tasks, kind)

    return app


def add_to(tasks: BackgroundTasks, kind: str) -> None:
    tasks.add_task(succeed)
    tasks.add_task(succeed_async)
    if kind in FAILING:
        tasks.add_task(FAILING[kind])


def request(path: str, *, on_failure: Literal["continue", "stop"] = "continue", wait: bool = False) -> None:
    with TestClient(app_of(on_failure, wait=wait), raise_server_exceptions=False) as client:
        client.post(path)


async def queued(dispatcher: Dispatcher) -> None:
    async with dispatcher, dispatcher.tasks() as tasks:
        tasks.add_task(fail_twice_in_a_worker)


def in_a_worker() -> None:
    dispatcher = Dispatcher()
    broker = dispatcher.worker_broker()
    asyncio.run(queued(dispatcher))
    worker = dramatiq.Worker(broker, worker_timeout=100)
    worker.start()
    try:
        broker.join("default", timeout=20_000)
    finally:
        worker.stop()
        broker.close()


async def outside(kind: str) -> None:
    async with Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            add_to(tasks, kind)
        await dispatcher.join()


def run(where: str) -> None:
    now.append(where)
    place, _, kind = where.rpartition(" ")
    match place:
        case "outside":
            asyncio.run(outside(kind))
        case "stop":
            request(f"/async/{kind}", on_failure="stop")
        case "worker":
            in_a_worker()
        case "quiet worker":
            ignore_logger("dramatiq.worker.WorkerThread")
            in_a_worker()
        case "waiting":
            request(f"/async/{kind}", wait=True)
        case _:
            request(f"/{place}/{kind}")
    sentry_sdk.flush()


def main(file: str, *everything: str) -> None:
    file_of[:] = [Path(file)]
    for where in everything:
        run(where)
