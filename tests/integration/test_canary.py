"""A canary in arguments and one in the broker's password, sent down every path that fails: they are in no log line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import redis

from weighbridge import Dispatcher
from weighbridge.call import Call
from weighbridge.chooser import Chooser
from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue import connect
from weighbridge.lanes.queue.dead_letters import DeadLetters
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.settings import Settings
from weighbridge.task import registry

CANARY: Final = "canary-2f9c41d7a8"
NAMESPACE: Final = "canary"
DEADLINE_S: Final = 60.0

APP: Final = """
import logging

from fastapi import FastAPI
from weighbridge import BackgroundTasks, Dispatcher, Weight, task

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")


@task(durable=True, retries=1, min_backoff_s=0.05, max_backoff_s=0.05, name="canary.fail")
def fail(secret: str) -> None:
    raise ValueError("declined")


@task(durable=True, retries=0, time_limit_s=0.3, name="canary.hang")
async def hang(secret: str) -> None:
    import asyncio

    await asyncio.sleep(60)


@task(durable=True, name="canary.count")
def count(number: int) -> None: ...


@task(durable=True, name="canary.ok")
def ok(secret: str) -> None: ...


dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


@app.post("/{name}")
async def add(name: str, secret: str, tasks: BackgroundTasks) -> str:
    func = {"fail": fail, "hang": hang, "count": count, "ok": ok}[name]
    value = secret * 100_000 if name == "ok" and secret.endswith("!") else secret
    tasks.add_task(func, value)
    return name


@app.post("/here/{secret}")
async def here(secret: str, tasks: BackgroundTasks) -> None:
    def fails_here(value: str) -> None:
        raise ValueError("declined here")

    tasks.add_task(fails_here, secret)
"""


def eventually(condition: Callable[[], object], what: Callable[[], str]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.05)


class Shop:
    """A web process and a worker, both logging at DEBUG, on a server whose password is a canary."""

    def __init__(self, folder: Path, server: EmbeddedServer) -> None:
        (folder / "canaries.py").write_text(APP, encoding="utf-8")
        self.folder = folder
        self.server = server
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "WEIGHBRIDGE_BROKER_URL": server.url,
            "WEIGHBRIDGE_NAMESPACE": NAMESPACE,
        }
        self._stack = ExitStack()
        self.client = redis.Redis.from_url(server.url)
        self.letters = DeadLetters(self.client, NAMESPACE)
        self._start("worker", "-m", "weighbridge", "worker", "canaries", "--processes", "1")
        self._start("web", "-m", "uvicorn", "canaries:app", "--port", "0", "--log-level", "debug")
        eventually(lambda: "worker.ready" in self.log("worker"), lambda: self.log("worker"))
        eventually(lambda: "Uvicorn running on" in self.log("web"), lambda: self.log("web"))
        found = re.search(r"Uvicorn running on (http://[\d.:]+)", self.log("web"))
        assert found is not None
        self.url = found[1]

    def _start(self, name: str, *words: str) -> None:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, *words], env=self.environment, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
        )
        self._stack.callback(process.wait, DEADLINE_S)
        self._stack.callback(process.terminate)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def post(self, path: str) -> int:
        request = urllib.request.Request(f"{self.url}/{path}", method="POST")  # our own server
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "weighbridge", *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return done.stdout + done.stderr

    def put_away(self) -> None:
        self._stack.close()
        self.client.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with EmbeddedServer.start(tcp=True) as server:
        shop = Shop(tmp_path, server)
        try:
            yield shop
        finally:
            shop.put_away()


def without_access_lines(log: str) -> str:
    """uvicorn's own lines of requests quote the address that was asked for, as the test has put it there."""
    return "\n".join(line for line in log.splitlines() if '"POST ' not in line)


def test_no_log_and_no_command_tells_an_argument_or_the_password(shop: Shop) -> None:
    password = urlsplit(shop.server.url).password
    assert password
    stream = QueueKeys(namespace=NAMESPACE, queue="default").stream
    fault: dict[str, Any] = {"queue_name": "default", "kwargs": {}, "options": {}, "message_timestamp": 1}

    assert shop.post(f"fail?secret={CANARY}") == 200
    assert shop.post(f"hang?secret={CANARY}") == 200
    assert shop.post(f"count?secret={CANARY}") == 500, "an argument of the wrong type raises in the request"
    assert shop.post(f"ok?secret={CANARY}!") == 500, "and so does one that is too large"
    assert shop.post(f"here/{CANARY}") == 200
    # What a sender of another version, or a hostile one, may put there.
    for message_id, actor, args in (("m1", "canary.count", [CANARY]), ("m2", "canary.ok", [[CANARY]])):
        body = json.dumps({**fault, "actor_name": actor, "args": args, "message_id": message_id})
        shop.client.xadd(stream, {"m": body})
    shop.client.xadd(stream, {"m": f'{{"args": ["{CANARY}"'})

    eventually(lambda: len(shop.letters.list()) == 5, lambda: shop.log("worker"))
    told = [shop.run("dead", "list"), *(shop.run("dead", "show", each.id) for each in shop.letters.list())]
    told += [shop.run("doctor", "canaries"), shop.run("tasks", "canaries")]
    letters = repr(shop.letters.list())
    shop.client.config_set("requirepass", "another one")
    shop.client.client_kill_filter(_type="normal", skipme=False)
    assert shop.post(f"ok?secret={CANARY}") == 503
    eventually(lambda: "queue.broker_lost" in shop.log("worker"), lambda: shop.log("worker"))
    told += [shop.run("doctor", "canaries"), shop.run("dead", "list")]

    worker, web = shop.log("worker"), without_access_lines(shop.log("web"))
    assert "ValueError: declined" in worker
    assert "declined here" in web
    assert "canary.fail" in told[0], "the letters were shown"
    for text in (worker, web, letters, *told):
        assert CANARY not in text
        assert password not in text


def test_no_repr_tells_an_argument_or_the_password(tmp_path: Path) -> None:
    url = f"redis://user:{CANARY}@127.0.0.1:1/0"
    settings = Settings(broker_url=url, namespace=NAMESPACE)
    broker = connect(url, namespace=NAMESPACE, timeout_s=0.5)
    call: Call = Chooser(registry=registry, policy=Dispatcher(settings=settings).policy).choose(str, (CANARY,), {})
    for each in (settings, broker, call, Dispatcher(settings=settings), broker.__dict__["queues"]):
        assert CANARY not in repr(each)
        assert CANARY not in str(each)
