"""A deployment: a service is told to end while its tasks wait. What becomes of them, and of the deployment?

The service is a process of its own, served by uvicorn. A request has added three tasks, of which the first waits for a
mail server, and the others for the first.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
from fastapi import BackgroundTasks, FastAPI
from tests.servers.uvicorn_thread import post

from .side import SIDES, Side

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60

TASKS = ("confirm", "count", "archive")
#: When the mail server is back: as soon as the service begins to end, or not at all.
SOON, NEVER = "soon", "never"


def what_is_lost_though_there_was_time(side: Side) -> str:
    """The server gives requests a second to end; the tasks could end as soon as the service begins to."""
    with _running(side, mail_server=SOON, graceful_s=1) as (service, _):
        done, _ = service.communicate(timeout=PATIENCE_S)
    return _together(task for task in TASKS if f"{task} is done\n" not in done)


def what_nobody_is_told_of(side: Side) -> str:
    """The server gives requests a second to end, and no task ends in time. Which of them does the log not name?"""
    with _running(side, mail_server=NEVER, graceful_s=1) as (service, ids):
        _, log = service.communicate(timeout=PATIENCE_S)
    return _together(task for task, call in zip(TASKS, ids, strict=True) if not re.search(rf"\b{call}\b", log))


def whether_the_service_ends(side: Side) -> str:
    """The server waits until all requests have ended, as uvicorn does if it is not told otherwise."""
    with _running(side, mail_server=NEVER, graceful_s=None) as (service, _):
        assert service.stderr is not None
        for line in service.stderr:
            if "Waiting for background tasks" in line:
                return "it waits for the tasks"
        return f"it ends with {service.wait(PATIENCE_S)}"


def _together(tasks: Iterable[str]) -> str:
    return " and ".join(tasks) or "nothing"


@contextmanager
def _running(
    side: Side, *, mail_server: str, graceful_s: int | None
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, which has just been told to end, and what its log might call each task: its id, or its name."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, side.name, mail_server, str(graceful_s or "")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WEIGHBRIDGE_DRAIN_TIMEOUT_S": "0.2" if mail_server == NEVER else "30"},
    ) as service:
        try:
            assert service.stdout is not None
            _, answer = post(int(service.stdout.readline()))
            assert service.stdout.readline() == "confirm begins\n"
            service.send_signal(signal.SIGTERM)
            yield service, json.loads(answer)
        finally:
            service.kill()


# -- the service --------------------------------------------------------------------------------------------


def new_service(side: Side, mail_server: str) -> FastAPI:
    mail_server_is_back = anyio.Event()

    async def confirm() -> None:
        print("confirm begins", flush=True)
        await mail_server_is_back.wait()
        print("confirm is done", flush=True)

    async def count() -> None:
        print("count is done", flush=True)

    async def archive() -> None:
        print("archive is done", flush=True)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        if mail_server == SOON:
            mail_server_is_back.set()

    app = side.new_app(lifespan=lifespan)

    @app.post("/")
    @side.injects
    async def order(tasks: BackgroundTasks) -> list[str]:
        add: Callable[..., Any] = tasks.add_task
        # FastAPI's class gives no tickets, so a log can only know the name.
        return [getattr(add(task), "id", task.__name__) for task in (confirm, count, archive)]

    return app


def main(side: str, mail_server: str, graceful_s: str) -> None:
    import uvicorn  # only in the process that serves

    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # so that a client may connect before uvicorn is ready
    print(listener.getsockname()[1], flush=True)
    configuration = uvicorn.Config(
        new_service(SIDES[side], mail_server),
        access_log=False,
        timeout_graceful_shutdown=int(graceful_s) if graceful_s else None,
    )
    uvicorn.Server(configuration).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
