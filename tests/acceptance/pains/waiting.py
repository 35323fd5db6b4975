"""Many tasks wait for something slow. What do they hold meanwhile that requests need?"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
from fastapi import BackgroundTasks, Depends
from tests.servers.asgi import Request, opened, until
from tests.servers.uvicorn_thread import PATIENCE_S, post, uvicorn_serving

from .side import Side

#: Threads on which Starlette runs sync endpoints, sync dependencies and sync tasks, if nobody changes it.
THREADS = 40
SESSIONS = 300
CONNECTIONS = 20


def whether_a_sync_endpoint_answers(side: Side) -> str:
    """Forty requests have each left a sync task that waits for a slow mail server. Then a sync endpoint is asked."""
    app = side.new_app()
    mail_server_is_back = threading.Event()
    sent: list[bool] = []

    def send() -> None:
        sent.append(mail_server_is_back.wait(PATIENCE_S))

    @app.post("/orders")
    @side.injects
    async def order(tasks: BackgroundTasks) -> None:
        tasks.add_task(send)

    @app.post("/prices")
    def prices() -> str:
        return "ok"

    async def main() -> str:
        threads = anyio.to_thread.current_default_thread_limiter()
        orders = [Request(path="/orders") for _ in range(THREADS)]
        asked = Request(path="/prices")
        async with opened(app), anyio.create_task_group() as requests:
            for each in orders:
                requests.start_soon(each.serve, app)
            await until(lambda: all(each.seen[-1:] == ["end"] for each in orders))
            await anyio.wait_all_tasks_blocked()
            requests.start_soon(asked.serve, app)
            # One of the two comes to pass: it is answered, or it stands in line for a thread.
            await until(lambda: asked.seen[-1:] == ["end"] or threads.statistics().tasks_waiting)
            outcome = " ".join(asked.seen) or "it waits for a thread"
            assert not sent
            mail_server_is_back.set()
        assert sent == [True] * THREADS
        return outcome

    return anyio.run(main)


def how_many_sessions_are_open(side: Side) -> str:
    """Three hundred requests, each with a session, have been answered; their tasks wait."""
    app = side.new_app()
    open_sessions = set()
    sent: list[str] = []

    async def session() -> AsyncIterator[None]:
        one = object()
        open_sessions.add(one)
        yield
        open_sessions.remove(one)

    async def main() -> str:
        mail_server_is_back = anyio.Event()

        async def send() -> None:
            await mail_server_is_back.wait()
            sent.append("sent")

        @app.post("/", dependencies=[Depends(session)])
        @side.injects
        async def order(tasks: BackgroundTasks) -> None:
            tasks.add_task(send)

        answered = [Request() for _ in range(SESSIONS)]
        async with opened(app), anyio.create_task_group() as requests:
            for each in answered:
                requests.start_soon(each.serve, app)
            await until(lambda: all(each.seen[-1:] == ["end"] for each in answered))
            await anyio.wait_all_tasks_blocked()
            outcome = f"{len(open_sessions)} open"
            assert not sent
            mail_server_is_back.set()
        assert len(sent) == SESSIONS
        return outcome

    return anyio.run(main)


def whether_requests_are_refused(side: Side) -> str:
    """``uvicorn --limit-concurrency 20``, and forty requests one after the other, whose tasks wait."""
    app = side.new_app()
    mail_server_is_back = threading.Event()

    sent: list[str] = []

    async def send() -> None:
        await until(mail_server_is_back.is_set)
        sent.append("sent")

    @app.post("/")
    @side.injects
    async def order(tasks: BackgroundTasks) -> None:
        tasks.add_task(send)

    with uvicorn_serving(app, limit_concurrency=CONNECTIONS) as port:
        statuses = [post(port)[0] for _ in range(2 * CONNECTIONS)]
        assert not sent
        mail_server_is_back.set()
    assert len(sent) == statuses.count(200)
    return " and ".join(map(str, sorted(set(statuses))))
