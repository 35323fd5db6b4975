"""Tasks that end, stop or outlast their worker process: each is bounded, and its neighbours run once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import dramatiq
import pytest
import redis

from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue.connect import ConnectedBroker, connect
from weighbridge.lanes.queue.dead_letters import DeadLetters, DeadReason
from weighbridge.lanes.queue.keys import GROUP, QueueKeys

TASKS = """
import ctypes, os, signal, sys, time
from pathlib import Path
from weighbridge import task


def note(*words):
    with Path("journal").open("a") as journal:
        journal.write(" ".join(map(str, (os.getpid(), *words))) + chr(10))


@task(name="quick")
def quick(number: int) -> None:
    note("quick", number)


@task(name="slow", time_limit_s=60)
def slow(number: int, seconds: float) -> None:
    note("slow", number)
    time.sleep(seconds)
    note("slept", number)


@task(name="leave")
def leave() -> None:
    note("leave")
    os._exit(3)


@task(name="segfault")
def segfault() -> None:
    note("segfault")
    ctypes.string_at(0)


@task(name="killed")
def killed() -> None:
    note("killed")
    os.kill(os.getpid(), signal.SIGKILL)


@task(name="hold", time_limit_s=60)
def hold(seconds: float) -> None:
    note("hold")
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    note("held")


@task(name="hang", time_limit_s=0.5, retries=0)
def hang() -> None:
    note("hang")
    ctypes.PyDLL(None).usleep(60_000_000)


@task(name="exits", retries=0)
def exits() -> None:
    note("exits")
    sys.exit(3)


@task(name="exits_async", retries=0)
async def exits_async() -> None:
    note("exits_async")
    raise KeyboardInterrupt
"""

DEADLINE_S = 30.0


def eventually(condition: Callable[[], object], what: Callable[[], str], *, within_s: float = DEADLINE_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.01)


class Shop:
    """A namespace with supervised workers, and a broker to send from."""

    def __init__(self, folder: Path, *, url: str) -> None:
        self.folder = folder
        self.namespace = f"test-{uuid.uuid4().hex}"
        self.keys = QueueKeys(namespace=self.namespace, queue="default")
        self._url = url
        self.client = redis.Redis.from_url(url)
        broker = connect(url, namespace=self.namespace, timeout_s=2)
        assert isinstance(broker, ConnectedBroker)
        self.broker = broker
        self.letters = DeadLetters(self.client, self.namespace)
        self.workers: list[subprocess.Popen[str]] = []
        self.lines: list[str] = []
        self._readers: list[threading.Thread] = []
        (folder / "crashing.py").write_text(TASKS, encoding="utf-8")

    def start(self, *, processes: int = 1, threads: int = 2, lease_s: float = 1.0) -> subprocess.Popen[str]:
        before = len(self.events("worker.ready"))
        arguments = ["worker", "crashing", "--processes", str(processes), "--threads", str(threads), "--grace", "1"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "WEIGHBRIDGE_BROKER_URL": self._url,
                "WEIGHBRIDGE_NAMESPACE": self.namespace,
                "WEIGHBRIDGE_LEASE_S": str(lease_s),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.workers.append(worker)
        assert worker.stderr is not None
        reader = threading.Thread(target=self.lines.extend, args=(iter(worker.stderr.readline, ""),), daemon=True)
        reader.start()
        self._readers.append(reader)
        self.wait(lambda: len(self.events("worker.ready")) == before + processes)
        return worker

    def send(self, task: str, *args: object) -> str:
        message = dramatiq.Message[None](queue_name="default", actor_name=task, args=args, kwargs={}, options={})
        self.broker.enqueue_many([(message, None)])
        return message.message_id

    def events(self, event: str) -> list[str]:
        return [line for line in list(self.lines) if f" {event} " in line]

    def pids(self) -> list[int]:
        return [int(line.split(" pid=")[1].split()[0]) for line in self.events("worker.ready")]

    def journal(self) -> Counter[str]:
        journal = self.folder / "journal"
        text = journal.read_text(encoding="utf-8") if journal.exists() else ""
        return Counter(line.split(" ", 1)[1] for line in text.splitlines())

    def is_settled(self) -> bool:
        return not self.client.xlen(self.keys.stream) and not self.client.zcard(self.keys.delayed)

    def wait(self, condition: Callable[[], object]) -> None:
        eventually(condition, lambda: f"{self.journal()}\n{''.join(self.lines)}")

    def put_away(self) -> None:
        for worker in self.workers:
            worker.kill()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for worker, reader in zip(self.workers, self._readers, strict=True):
            reader.join(DEADLINE_S)
            assert worker.stderr is not None
            worker.stderr.close()
            worker.wait()
        self.broker.close()
        self.broker.client.close()
        for key in self.client.scan_iter(f"{self.namespace}:*"):
            self.client.delete(key)
        self.client.close()


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server whose commands are counted."""
    with EmbeddedServer.start() as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path, redis_url: str) -> Iterator[Shop]:
    shop = Shop(tmp_path, url=redis_url)
    yield shop
    shop.put_away()


@pytest.mark.parametrize("task", ["leave", "segfault", "killed"])
def test_a_task_that_ends_its_process_runs_three_times_and_condemns_no_neighbour(shop: Shop, task: str) -> None:
    poison = shop.send(task)
    for number in range(20):
        shop.send("quick", number)
    shop.send("slow", 0, 0.3)
    shop.start(lease_s=600)  # so nothing comes back by a lease that lapses

    shop.wait(shop.is_settled)

    [letter] = shop.letters.list()
    assert (letter.id, letter.reason, letter.attempts, letter.task) == (poison, DeadReason.CRASHED, 3, task)
    journal = shop.journal()
    assert journal[task] == 3
    assert {f"quick {number}" for number in range(20)} | {"slept 0"} <= set(journal)
    assert len(shop.events("worker.died")) == 3
    assert all("again_in_s=0.1" in line for line in shop.events("worker.died"))
    assert len(shop.events("queue.runs_alone")) >= 1
    shop.send("quick", 99)
    shop.wait(lambda: "quick 99" in shop.journal())
    assert not shop.client.exists(shop.keys.crashes)


def test_what_a_dead_process_held_runs_in_another_at_once(shop: Shop) -> None:
    shop.start(processes=2, threads=1, lease_s=600)
    shop.send("slow", 1, 30.0)
    shop.wait(lambda: "slow 1" in shop.journal())
    holder = int((shop.folder / "journal").read_text().split()[0])

    killed_s = time.monotonic()
    os.kill(holder, signal.SIGKILL)

    shop.wait(lambda: shop.journal()["slow 1"] == 2)
    assert time.monotonic() - killed_s < 3
    assert "task=slow" in shop.events("worker.call_crashed")[0]


def test_a_death_that_the_server_refuses_to_hear_of_for_a_while_is_told_later(
    tmp_path: Path, own_server: EmbeddedServer
) -> None:
    """As at a failover: the old primary is read-only for a while."""
    shop = Shop(tmp_path, url=own_server.url)
    try:
        shop.start(processes=2, threads=1, lease_s=600)
        shop.send("slow", 1, 30.0)
        shop.wait(lambda: "slow 1" in shop.journal())
        holder = int((shop.folder / "journal").read_text().split()[0])
        shop.client.replicaof("127.0.0.1", "1")

        os.kill(holder, signal.SIGKILL)
        shop.wait(lambda: shop.events("worker.died"))
        time.sleep(1)
        shop.client.replicaof("no", "one")

        shop.wait(lambda: shop.journal()["slow 1"] == 2)
        assert list(shop.client.hgetall(shop.keys.crashes).values()) == [b"1"]
        assert not shop.events("worker.guardian_refused")
    finally:
        shop.put_away()


def test_a_task_that_holds_the_interpreter_for_three_leases_runs_once_and_so_do_its_neighbours(shop: Shop) -> None:
    shop.start(processes=2, threads=2, lease_s=1)
    shop.send("hold", 3.0)
    shop.wait(lambda: "hold" in shop.journal())
    for number in range(20):
        shop.send("quick", number)

    shop.wait(shop.is_settled)

    journal = shop.journal()
    assert (journal["hold"], journal["held"]) == (1, 1)
    assert [journal[f"quick {number}"] for number in range(20)] == [1] * 20
    assert not shop.events("worker.died")


def test_a_process_that_hangs_beyond_a_time_limit_is_killed_and_the_call_counted(shop: Shop) -> None:
    shop.start(lease_s=1)
    shop.send("slow", 1, 2.0)
    shop.wait(lambda: "slow 1" in shop.journal())
    shop.send("hang")

    shop.wait(lambda: shop.events("worker.hung"))

    shop.wait(lambda: shop.events("worker.offered_again"))
    assert "task=hang" in shop.events("worker.hung")[0]
    assert ["task=hang" in line for line in shop.events("worker.call_crashed")] == [True]
    shop.wait(lambda: "slept 1" in shop.journal())


@pytest.mark.parametrize("task", ["exits", "exits_async"])
def test_a_task_that_raises_what_ends_a_program_fails_like_others(shop: Shop, task: str) -> None:
    shop.start(threads=1)
    for _ in range(3):  # more than there are threads
        shop.send(task)

    shop.wait(lambda: len(shop.letters.list()) == 3)

    assert {letter.reason for letter in shop.letters.list()} == {DeadReason.FAILED}
    assert shop.journal()[task] == 3
    assert not shop.events("worker.died")


def test_calls_of_a_supervisor_and_a_child_that_die_together_are_taken_over_and_counted(shop: Shop) -> None:
    supervisor = shop.start(threads=1, lease_s=1)
    shop.send("slow", 1, 30.0)
    shop.wait(lambda: "slow 1" in shop.journal())
    [(entry_id, _)] = list(shop.client.xrange(shop.keys.stream))  # type: ignore[arg-type]  # redis-py types both kinds
    supervisor.kill()
    os.kill(shop.pids()[0], signal.SIGKILL)

    shop.start(threads=1, lease_s=1)

    shop.wait(lambda: shop.journal()["slow 1"] == 2)
    assert shop.client.hgetall(shop.keys.crashes) == {entry_id: b"1"}


def test_what_is_given_back_at_sigterm_counts_as_no_crash(shop: Shop) -> None:
    worker = shop.start(threads=1)
    shop.send("slow", 1, 30.0)
    shop.wait(lambda: "slow 1" in shop.journal())
    shop.send("quick", 1)

    worker.terminate()
    worker.wait()

    shop.wait(lambda: shop.client.xpending(shop.keys.stream, GROUP)["pending"] == 1)
    assert not shop.client.exists(shop.keys.crashes)
    shop.start(threads=2)
    shop.wait(lambda: shop.journal()["slow 1"] == 2 and shop.journal()["quick 1"] == 1)


def test_a_process_that_gets_no_thread_for_its_calls_ends_and_another_takes_its_place(shop: Shop) -> None:
    with (shop.folder / "crashing.py").open("a", encoding="utf-8") as module:
        module.write(
            """
import dramatiq.worker


def start(self):
    if not Path("tried").exists():
        Path("tried").touch()
        raise RuntimeError("can't start new thread")
    super(dramatiq.worker.WorkerThread, self).start()


dramatiq.worker.WorkerThread.start = start
"""
        )

    shop.start()

    assert len(shop.events("worker.died")) == 1
    assert "RuntimeError: can't start new thread" in "".join(shop.lines)
    shop.send("quick", 1)
    shop.wait(lambda: shop.journal()["quick 1"] == 1)


def test_an_idle_worker_process_costs_the_server_two_commands_a_second(
    tmp_path: Path, own_server: EmbeddedServer
) -> None:
    shop = Shop(tmp_path, url=own_server.url)
    try:
        shop.start(lease_s=15)
        shop.send("quick", 1)
        shop.wait(shop.is_settled)

        def commands() -> int:
            counts = shop.client.info("commandstats")
            # A script's commands count as well.
            return sum(each["calls"] for name, each in counts.items() if name != "cmdstat_info")

        before, began_s = commands(), time.monotonic()
        time.sleep(5)
        rate = (commands() - before) / (time.monotonic() - began_s)
        assert rate <= 2.2  # a look of each kind may fall into the 5 s once more
    finally:
        shop.put_away()
