from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import redis

from weighbridge import Dispatcher

TASKS = """
import os, time
from pathlib import Path
from weighbridge import task

def note(line):
    with Path("journal").open("a") as journal:
        journal.write(line + "\\n")

@task(durable=True)
def slow(seconds: float) -> None:
    note("slow started")
    time.sleep(seconds)
    note("slow ended")

@task(durable=True)
def quick(number: int) -> None:
    note(f"quick {number}")
"""


def eventually(condition: Callable[[], object], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_short_call_does_not_wait_behind_a_long_one_while_another_process_is_idle(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sharing_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    tasks = __import__(name)
    dispatcher = Dispatcher(broker_url=redis_url, namespace=name)
    environ = {**os.environ, "WEIGHBRIDGE_BROKER_URL": redis_url, "WEIGHBRIDGE_NAMESPACE": name}
    worker = subprocess.Popen(
        [sys.executable, "-m", "weighbridge", "worker", name, "--processes", "2", "--threads", "1"],
        cwd=tmp_path,
        env=environ,
        stderr=subprocess.PIPE,
    )
    journal = tmp_path / "journal"

    async def enqueue() -> None:
        async with dispatcher, dispatcher.tasks() as add:
            add.add_task(tasks.slow, 4.0)
            for number in range(5):
                add.add_task(tasks.quick, number)

    def lines() -> list[str]:
        return journal.read_text().splitlines() if journal.exists() else []

    try:
        assert worker.stderr is not None
        ready = 0
        while ready < 2:
            ready += b"worker.ready" in worker.stderr.readline()
        anyio.run(enqueue)
        eventually(lambda: "slow ended" in lines())
    finally:
        worker.terminate()
        worker.communicate()
        client = redis.Redis.from_url(redis_url)
        client.delete(*client.keys(f"{name}*") or ["none"])
        client.close()

    assert lines()[-1] == "slow ended"
    assert sorted(lines()[:-1]) == [*(f"quick {number}" for number in range(5)), "slow started"]
