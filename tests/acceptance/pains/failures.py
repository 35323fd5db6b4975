"""A task raises. What does the rest of the service notice?"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, Depends, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from tests.servers.asgi import until_left
from tests.servers.uvicorn_thread import PATIENCE_S, connected, uvicorn_serving

from .side import Side


async def fail() -> None:
    raise LookupError("the mail server is away")


class Sessions:
    """A dependency as of a database: it commits at the end of a request that went well, and rolls back otherwise."""

    def __init__(self) -> None:
        self.fate = "left open"
        self.ended = threading.Event()

    async def __call__(self) -> AsyncIterator[None]:
        try:
            yield
        except Exception:
            self.fate = "rolled back"
            raise
        else:
            self.fate = "committed"
        finally:
            self.ended.set()


def fate_of_an_order(side: Side) -> str:
    """An order is saved, and its confirmation fails."""
    app, session = side.new_app(), Sessions()

    @app.post("/", dependencies=[Depends(session)])
    @side.injects
    async def order(tasks: BackgroundTasks) -> None:
        tasks.add_task(fail)

    with TestClient(app, raise_server_exceptions=False) as client:
        status = client.post("/").status_code
    return f"answered {status}, {session.fate}"


def what_runs_after_a_failure(side: Side) -> str:
    """The first of three tasks fails."""
    app = side.new_app()
    ran: list[str] = []

    @app.post("/")
    @side.injects
    async def order(tasks: BackgroundTasks) -> None:
        tasks.add_task(fail)
        tasks.add_task(ran.append, "second")
        tasks.add_task(ran.append, "third")

    with TestClient(app, raise_server_exceptions=False) as client:
        client.post("/")
    return " and ".join(ran) or "nothing"


def what_the_server_hears(side: Side) -> str:
    """A task raises an error for which the service has a handler: as a request it would be answered 404."""
    app = side.new_app()

    @app.exception_handler(LookupError)
    async def not_found(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse("not found", status_code=404)

    @app.post("/")
    @side.injects
    async def order(tasks: BackgroundTasks) -> None:
        tasks.add_task(fail)

    with TestClient(app) as client:
        try:
            status = client.post("/").status_code
        except RuntimeError as error:
            return str(error)
    return f"answered {status}"


def fate_of_an_order_whose_client_left(side: Side) -> str:
    """The client hangs up while its order is taken; then the confirmation fails."""
    app, session = side.new_app(), Sessions()
    taken = threading.Event()
    ran: list[str] = []

    @app.post("/", dependencies=[Depends(session)])
    @side.injects
    async def order(request: Request, tasks: BackgroundTasks) -> None:
        taken.set()
        await until_left(request)
        tasks.add_task(fail)
        tasks.add_task(ran.append, "the next task ran")

    with uvicorn_serving(app) as port:
        with connected(port):
            assert taken.wait(PATIENCE_S)
        assert session.ended.wait(PATIENCE_S)
    return ", ".join([session.fate, *ran])
