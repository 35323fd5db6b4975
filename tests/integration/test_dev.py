"""``weighbridge dev``: one command that starts all that an app needs, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from weighbridge.embedded import EmbeddedServer

SHOP = """
import os
from pathlib import Path

from fastapi import FastAPI
from weighbridge import BackgroundTasks, Dispatcher, task

dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])


@task(weight=200)
def render(name: str) -> None:
    Path(name).write_text(f"{VERSION} {os.getpid()}")


@app.post("/render/{name}", status_code=202)
async def ask(name: str, tasks: BackgroundTasks) -> dict[str, object]:
    return {"lane": tasks.add_task(render, name).lane, "version": VERSION, "pid": os.getpid()}
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()[:1] not in ("", "Z")


def descendants(pid: int) -> set[int]:
    """All processes below a process, whatever session they are in."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.stdout.splitlines())}
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def eventually(condition: Callable[[], bool], *, within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Dev:
    """A running ``weighbridge dev``, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, pattern: str, *, times: int = 1) -> str:
        """The n-th line that fits."""
        assert eventually(lambda: len(self.found(pattern)) >= times), (pattern, self.lines)
        return self.found(pattern)[times - 1]

    def found(self, pattern: str) -> list[str]:
        return [line for line in self.lines if re.search(pattern, line)]

    def wait_until_up(self) -> str:
        """The address of the app, when all of it runs."""
        self.wait_for(r"^worker \|.*worker\.ready")
        self.wait_for(r"^web    \|.*startup complete")
        return self.wait_for(r"^web    \|.*Uvicorn running on").split("running on ")[1].split()[0]

    def end(self) -> int:
        status = self.process.wait(60)
        self._reader.join(10)
        return status


@contextmanager
def dev(*words: str, **environment: str) -> Iterator[Dev]:
    process = subprocess.Popen(
        [sys.executable, "-m", "weighbridge", "dev", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    with process:
        running = Dev(process)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
            running.end()


def post(url: str) -> dict[str, object]:
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def read(path: Path) -> str:
    assert eventually(lambda: path.exists() and path.read_text(encoding="utf-8") != "")
    return path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_shop(tmp_path, version="one")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_shop(folder: Path, *, version: str) -> None:
    (folder / "shop.py").write_text(f"VERSION = {version!r}\n{SHOP}", encoding="utf-8")


def test_a_request_is_answered_and_its_queued_call_runs_in_the_worker(shop: Path) -> None:
    with dev("shop:app", "--port", "0") as running:
        answer = post(f"{running.wait_until_up()}/render/out.txt")
        assert answer["lane"] == "queue"
        version, pid = read(shop / "out.txt").split()
        assert version == "one"
        assert int(pid) != answer["pid"]
        assert int(pid) in descendants(running.process.pid)
        assert running.found(r"^server \| \S+-server started at unix:///")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_all_in_order_and_leaves_no_process(signum: signal.Signals) -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        pids = descendants(running.process.pid)
        assert len(pids) >= 7  # three watchdogs, the server, uvicorn and its child, the worker and its child
        running.process.send_signal(signum)
        assert running.end() == 0
        order = [running.lines.index(running.found(pattern)[-1]) for pattern in STOPPING]
        assert order == sorted(order)
        assert not [pid for pid in pids if is_alive(pid)]


STOPPING = (
    r"^dev    \| stopping",
    r"^web    \|.*shutdown complete",
    r"^worker \|.*worker\.stopped",
    r"^dev    \| stopped",
)


def test_a_dev_killed_with_sigkill_leaves_no_process() -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        pids = descendants(running.process.pid)
        running.process.kill()
        running.process.wait()
        assert eventually(lambda: not any(map(is_alive, pids)))


def test_a_changed_source_file_restarts_the_app_and_the_worker(shop: Path) -> None:
    with dev("shop:app", "--port", "0") as running:
        url = running.wait_until_up()
        write_shop(shop, version="number two")
        running.wait_for(r"^worker \|.*worker\.ready", times=2)
        running.wait_for(r"^web    \|.*startup complete", times=2)
        assert running.found(r"^dev    \| shop\.py changed: the worker restarts")
        assert post(f"{url}/render/out.txt")["version"] == "number two"
        assert read(shop / "out.txt").startswith("number two")


def test_a_broken_source_file_is_waited_out(shop: Path) -> None:
    with dev("shop:app", "--port", "0") as running:
        url = running.wait_until_up()
        (shop / "shop.py").write_text("this is not Python", encoding="utf-8")
        running.wait_for(r"^worker \| ended with status 2; it starts again when a source file has changed")
        write_shop(shop, version="mended")
        running.wait_for(r"^worker \|.*worker\.ready", times=2)
        running.wait_for(r"^web    \|.*startup complete", times=2)
        assert post(f"{url}/render/out.txt")["version"] == "mended"


def test_an_app_that_cannot_listen_ends_all_with_its_status() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with dev("shop:app", "--port", str(taken.getsockname()[1])) as running:
            status = running.end()
            assert status != 0
            assert f"web    | ended with status {status}" in running.lines
            assert running.found(r"^web    \|.*(?i:address already in use)")
            assert running.lines[-1] == "dev    | stopped"


def test_a_server_that_dies_ends_all() -> None:
    with dev("shop:app", "--port", "0") as running:
        running.wait_until_up()
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
        (server,) = [
            int(line.split()[0])
            for line in listed.stdout.splitlines()
            if int(line.split()[0]) in descendants(running.process.pid) and "-server unixsocket" in line
        ]
        os.kill(server, signal.SIGKILL)
        assert running.end() == 1
        assert running.found(r"^server \| ended by itself")


def test_a_configured_broker_is_used_and_left_running() -> None:
    with EmbeddedServer.start() as server:
        with dev("shop:app", "--port", "0", WEIGHBRIDGE_BROKER_URL=server.url) as running:
            post(f"{running.wait_until_up()}/render/out.txt")
            read(Path("out.txt"))
            assert running.found(r"^server \| unix://.*, as configured")
        with redis.Redis.from_url(server.url) as client:
            assert client.keys("weighbridge:*")


def test_a_configured_broker_that_is_dead_is_an_error(tmp_path: Path) -> None:
    with dev("shop:app", WEIGHBRIDGE_BROKER_URL=f"unix://{tmp_path}/none?db=0") as running:
        assert running.end() == 2
        assert running.found("nothing answers there")


def test_what_is_no_app_is_refused_with_an_example() -> None:
    with dev("shop") as running:
        assert running.end() == 2
        assert running.found("as in app.main:app")
