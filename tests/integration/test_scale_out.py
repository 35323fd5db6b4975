"""Several web processes and several worker hosts on one server: each call runs once, in its own namespace."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from tests.servers.redis_fleet import HOST, free_ports, wait_until

from weighbridge.lanes.queue.dead_letters import DeadLetters
from weighbridge.lanes.queue.keys import GROUP, QueueKeys

SERVICE = """
import os
from pathlib import Path
from fastapi import FastAPI
from weighbridge import BackgroundTasks, Dispatcher, task

@task(durable=True)
def sell(order: int) -> None:
    with Path("journal").open("a") as journal:
        journal.write(f"{os.environ['WEIGHBRIDGE_NAMESPACE']} {os.environ['HOST_NAME']} {order}" + chr(10))

@task(durable=True, queue="slow")
def ship(order: int) -> None:
    sell(-order)

dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

@app.post("/orders/{order}", status_code=202)
async def create(order: int, tasks: BackgroundTasks) -> None:
    tasks.add_task(sell, order)
    tasks.add_task(ship, order)
"""


class Site:
    """A folder with a service, and the processes that run it."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "shop.py").write_text(SERVICE)

    def start(self, *words: str, namespace: str, host: str) -> None:
        ours = {"WEIGHBRIDGE_BROKER_URL": self.redis_url, "WEIGHBRIDGE_NAMESPACE": namespace, "HOST_NAME": host}
        command = [sys.executable, "-m", *words]
        self._processes.append(subprocess.Popen(command, cwd=self.folder, env={**os.environ, **ours}))

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)

    def web(self, *, namespace: str, host: str) -> str:
        [port] = free_ports(1)
        words = ("uvicorn", "shop:app", "--host", HOST, "--port", str(port), "--log-level", "warning")
        self.start(*words, namespace=namespace, host=host)
        return f"http://{HOST}:{port}"

    def worker(self, *, namespace: str, host: str) -> None:
        self.start(
            "weighbridge", "worker", "shop", "--processes", "1", "--threads", "4", namespace=namespace, host=host
        )

    def journal(self) -> list[tuple[str, str, int]]:
        journal = self.folder / "journal"
        lines = [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []
        return [(namespace, host, int(order)) for namespace, host, order in lines]


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 404
    except httpx.TransportError:
        return False


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[Site]:
    site = Site(tmp_path, redis_url)
    yield site
    site.stop()


def test_each_call_of_several_web_processes_runs_once_on_one_of_several_hosts_in_its_namespace(site: Site) -> None:
    ours, theirs = f"ours-{uuid.uuid4().hex}", f"theirs-{uuid.uuid4().hex}"
    web = [site.web(namespace=ours, host=f"web-{number}") for number in range(2)]
    others = site.web(namespace=theirs, host="web-of-others")
    for number in range(2):
        site.worker(namespace=ours, host=f"worker-{number}")
    site.worker(namespace=theirs, host="worker-of-others")
    client = redis.Redis.from_url(site.redis_url)
    for url in (*web, others):
        wait_until(lambda url=url: answers(url), what=f"{url} serves", within_s=60)  # type: ignore[misc]  # a loop's value
    keys = [QueueKeys(namespace=ours, queue=queue) for queue in ("default", "slow")]
    wait_until(
        lambda: all(len(list(client.xinfo_consumers(each.stream, GROUP))) == 2 for each in keys),
        what="both worker hosts wait for calls of both queues",
        within_s=60,
    )

    accepted: Counter[int] = Counter()
    with httpx.Client(timeout=10) as http:
        for order in range(1, 101):
            assert http.post(f"{web[order % 2]}/orders/{order}").status_code == 202
            accepted.update([order, -order])
        for order in range(1001, 1006):
            assert http.post(f"{others}/orders/{order}").status_code == 202

    wait_until(lambda: len(site.journal()) >= 210, what="all calls run")
    for each in keys:
        wait_until(lambda each=each: client.xlen(each.stream) == 0, what="all are settled")  # type: ignore[misc]  # as above
    journal = site.journal()
    assert Counter(order for namespace, _, order in journal if namespace == ours) == accepted
    assert {host for namespace, host, _ in journal if namespace == ours} == {"worker-0", "worker-1"}
    assert sorted(order for namespace, _, order in journal if namespace == theirs) == sorted(
        sign * order for order in range(1001, 1006) for sign in (1, -1)
    )
    assert {host for namespace, host, _ in journal if namespace == theirs} == {"worker-of-others"}
    assert DeadLetters(client, ours).list() == DeadLetters(client, theirs).list() == ()
    client.close()
