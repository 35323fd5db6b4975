"""A policy is swapped under load: a real uvicorn, a real broker, clients that do not stop, and a file that changes."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import anyio.to_thread
import pytest
from fastapi import FastAPI
from tests.policy_file import QUEUED, STAYS, revision_of_text
from tests.servers.redis_fleet import wait_until
from tests.servers.uvicorn_thread import PATIENCE_S, uvicorn_serving

from weighbridge import BackgroundTasks, Dispatcher, task
from weighbridge.policy_watch import POLICY_REFUSED

CLIENTS = 6
SWAPS = 12
BUSY = STAYS + '\n[[rule]]\nname = "busy"\nwhen = "in_process.waiting >= 3"\nlane = "queue"\n'
BROKEN = QUEUED.replace("queue", "qeue")


class Client:
    """One connection that is kept, as a load balancer keeps it."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._connection.close()

    def post(self, path: str) -> tuple[int, dict[str, str]]:
        self._connection.request("POST", path)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


#: Of the module, since a task with a free variable could not be queued.
RAN: Counter[str] = Counter()


@pytest.fixture
def ran() -> Counter[str]:
    RAN.clear()
    return RAN


@pytest.fixture
def dispatcher(redis_url: str, policy_file: Path, only_own_tasks: None) -> Dispatcher:
    return Dispatcher(
        broker_url=redis_url,
        namespace=f"swap-{uuid.uuid4().hex}",
        policy=policy_file,
        policy_watch_s=0.05,
        enqueue_timeout_s=10,  # the machine may be busy, and no answer may be 503 for that
    )


@pytest.fixture
def app(dispatcher: Dispatcher, ran: Counter[str]) -> FastAPI:
    @task(weight=1, name="swap.note")
    def note(number: int) -> None:
        RAN[f"{number}"] += 1

    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/calls/{number}", status_code=202)
    async def add(number: int, tasks: BackgroundTasks) -> dict[str, str]:
        ticket = tasks.add_task(note, number)
        return {"lane": ticket.lane, "revision": ticket.revision}

    @app.post("/policy/{name}")
    async def appoint(name: str) -> dict[str, str]:
        await anyio.to_thread.run_sync(setattr, dispatcher, "policy", name)
        return {"revision": getattr(dispatcher.policy, "revision", "")}

    return app


class Load:
    """Clients that post without a pause until they are told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients: list[Future[list[tuple[int, dict[str, str]]]]] = [
            self._pool.submit(self._post, number) for number in range(CLIENTS)
        ]

    def _post(self, number: int) -> list[tuple[int, dict[str, str]]]:
        answers = []
        with Client(self._port) as client:
            while not self._stop.is_set():
                answers.append(client.post(f"/calls/{number}"))
        return answers

    def answers(self) -> list[tuple[int, dict[str, str]]]:
        self._stop.set()
        answers = [answer for client in self._clients for answer in client.result(PATIENCE_S)]
        self._pool.shutdown()
        return answers


def account(answers: list[tuple[int, dict[str, str]]], ran: Counter[str], queued: int) -> None:
    """No request has failed, and each accepted call is in its lane or has run, once."""
    lanes = Counter(answer["lane"] for _, answer in answers)
    assert {status for status, _ in answers} == {202}
    assert min(lanes["in_process"], lanes["queue"]) > 0, lanes
    assert sum(ran.values()) == lanes["in_process"]
    assert queued == lanes["queue"]


def all_done(dispatcher: Dispatcher) -> Callable[[], bool]:
    return lambda: not dispatcher.in_process_counts.waiting and not dispatcher.in_process_counts.running


def test_a_policy_is_swapped_by_assignment_under_load(dispatcher: Dispatcher, app: FastAPI, ran: Counter[str]) -> None:
    with uvicorn_serving(app) as port, Client(port) as operator:
        load = Load(port)
        appointed, asked = [], []
        for swap in range(SWAPS):
            policy = ("all-queued", "by-weight", "spill-over")[swap % 3]
            appointed.append(operator.post(f"/policy/{policy}")[1]["revision"])
            asked.append(operator.post("/calls/99"))
        answers = load.answers()
        wait_until(all_done(dispatcher), what="the calls in process have ended", within_s=PATIENCE_S)
        assert dispatcher.dispatch is not None
        assert dispatcher.dispatch.queue is not None
        queued = dispatcher.dispatch.queue.waiting_in("default")

    assert [ticket["revision"] for _, ticket in asked] == appointed
    assert len(set(appointed) - {""}) == 3
    assert {answer["revision"] for _, answer in answers} >= set(appointed)
    account([*answers, *asked], ran, queued)


def test_a_policy_is_swapped_by_its_file_under_load(
    dispatcher: Dispatcher, app: FastAPI, policy_file: Path, ran: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    def in_force(revision: str) -> Callable[[], bool]:
        return lambda: getattr(dispatcher.policy, "revision", "") == revision

    def refused() -> bool:
        return any(record.__dict__.get("event") == POLICY_REFUSED for record in caplog.records)

    with caplog.at_level(logging.ERROR, logger="weighbridge"), uvicorn_serving(app) as port:
        load = Load(port)
        for text in (QUEUED, BUSY, STAYS):
            policy_file.write_text(text)
            wait_until(in_force(revision_of_text(text)), what="the file has taken over", within_s=PATIENCE_S)
        policy_file.write_text(BROKEN)
        wait_until(refused, what="the broken file is refused", within_s=PATIENCE_S)
        assert in_force(revision_of_text(STAYS))()
        policy_file.write_text(QUEUED)
        wait_until(in_force(revision_of_text(QUEUED)), what="the mended file has taken over", within_s=PATIENCE_S)
        answers = load.answers()
        wait_until(all_done(dispatcher), what="the calls in process have ended", within_s=PATIENCE_S)
        assert dispatcher.dispatch is not None
        assert dispatcher.dispatch.queue is not None
        queued = dispatcher.dispatch.queue.waiting_in("default")

    assert {answer["revision"] for _, answer in answers} >= {revision_of_text(text) for text in (STAYS, QUEUED)}
    account(answers, ran, queued)
