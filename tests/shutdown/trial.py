"""One stop of one service: a server under load, a signal, its end, a worker for what was handed over, the account."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis
from tests.documentation.blocks import ROOT
from tests.faults.record import Line, Mark, Place, Record
from tests.shutdown import work
from tests.shutdown.account import Account, Events
from tests.shutdown.load import End, Load, Request
from tests.shutdown.stops import Stop
from tests.shutdown.web import Exit, Web

from weighbridge.lanes.queue.keys import QueueKeys

OURS: Final = "tests.shutdown.service"
STOCK: Final = "tests.shutdown.stock"
QUEUE: Final = "default"
WAIT_S: Final = 120.0
#: Slots for sync and for async calls, in each process of the service under weighbridge.
SLOTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of a stop. ``waiting``: calls of each process of the server that wait when it is signalled."""

    waiting: int
    per_s: float
    run_ms: int
    drain_timeout_s: float
    patience_s: float


#: What is measured: calls of a second, and an operator who kills after 10 s, as ``docker stop`` does by itself.
MEASURED: Final = Scale(waiting=500, per_s=200.0, run_ms=1_000, drain_timeout_s=3.0, patience_s=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a stop. ``ends``: of the requests that were sent after the signal; ``cut``: of those before it."""

    account: Account
    events: Events
    exit: Exit
    ends: Mapping[End, int]
    cut: int
    problems: tuple[str, ...]


def run(stop: Stop, module: str, *, broker_url: str, directory: Path, scale: Scale) -> Result:
    """Stop one server with one of the services, in a directory of this run's own."""
    directory.mkdir(parents=True, exist_ok=True)
    namespace = f"shutdown-{stop.name}-{uuid.uuid4()}"
    trial = _Trial(directory=directory, workers=stop.workers)
    settings = _settings(broker_url, namespace, scale.drain_timeout_s) if module == OURS else {}
    own = {work.DIRECTORY: str(directory), work.STREAM_S: str(stop.stream_s)}
    if stop.ignores_sigterm:
        own[work.IGNORE_SIGTERM] = "yes"
    web = Web(
        [word.replace("{app}", f"{module}:app") for word in stop.command],
        environment={**own, **settings, work.PLACE: Place.WEB, work.RUN_MS: str(scale.run_ms)},
        log=directory / "server.log",
    )
    web.start(trial.is_ready)
    try:
        processes = 1 if stop.lopsided else stop.workers
        load = Load(web.port, per_s=scale.per_s * processes, lopsided=stop.lopsided)
        load.start()
        try:
            _wait_until(lambda: trial.waiting(load) >= scale.waiting * processes, what="waiting calls")
            streams = load.add_streams(stop.streams)
            _wait_until(lambda: all(map(_is_accepted, streams)), what="open streams")
            signalled_s = last_s = time.monotonic()
            web.signal(stop.signal)
            patience_s = WAIT_S if stop.signal is signal.SIGHUP else scale.patience_s  # nobody kills what reloads
            for text, signum in stop.then:
                if trial.is_said(text, web, until_s=last_s + patience_s):
                    last_s = time.monotonic()
                    web.signal(signum)
            end = web.wait(since_s=signalled_s, until_s=last_s + scale.patience_s)
        finally:
            load.stop()
    finally:
        web.kill()
    if module == OURS:
        run_worker({**own, **settings, work.PLACE: Place.WORKER, work.RUN_MS: "1"}, broker_url, namespace, directory)
    account = Account.of(load.accepted(), trial.lines(), trial.events())
    ends = load.ends(after_s=signalled_s)
    return Result(
        account=account,
        events=trial.events(),
        exit=end,
        ends=ends,
        cut=load.cut_before(signalled_s),
        problems=_problems(account),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """What the processes of one run have written so far."""

    directory: Path
    workers: int

    def log(self) -> str:
        path = self.directory / work.EVENTS
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def events(self) -> Events:
        return Events.of(self.log().splitlines())

    def lines(self) -> list[Line]:
        return Record(self.directory).lines()

    def is_said(self, text: str, web: Web, *, until_s: float) -> bool:
        """Wait until the server or the service has logged a text; false if it has not by then."""
        while text not in web.text() + self.log():
            if time.monotonic() > until_s:
                return False
            time.sleep(0.05)
        return True

    def is_ready(self) -> bool:
        return self.events().opened >= self.workers

    def waiting(self, load: Load) -> int:
        return len(load.accepted().keys() - {line.call for line in self.lines() if line.mark is Mark.STARTED})


def run_worker(environment: Mapping[str, str], broker_url: str, namespace: str, directory: Path) -> None:
    """Run a real worker command until the queue is empty."""
    words = ["weighbridge", "worker", OURS, "--processes", "1", "--threads", "8"]
    keys = QueueKeys(namespace=namespace, queue=QUEUE)
    path = directory / "worker.log"
    with contextlib.closing(redis.Redis.from_url(broker_url)) as client, path.open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            _wait_until(lambda: "worker.ready" in path.read_text(encoding="utf-8"), what="ready worker")
            _wait_until(lambda: not client.xlen(keys.stream) and not client.zcard(keys.delayed), what="an empty queue")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(WAIT_S) == 0, path.read_text(encoding="utf-8")
        finally:
            worker.kill()
            worker.wait(WAIT_S)


def _settings(broker_url: str, namespace: str, drain_timeout_s: float) -> dict[str, str]:
    """weighbridge's settings, by the environment as in a deployment: few slots, and all calls stay that may."""
    return {
        "WEIGHBRIDGE_BROKER_URL": broker_url,
        "WEIGHBRIDGE_NAMESPACE": namespace,
        "WEIGHBRIDGE_POLICY": "all-in-process",
        "WEIGHBRIDGE_IN_PROCESS_THREADS": str(SLOTS),
        "WEIGHBRIDGE_IN_PROCESS_RUNNING": str(SLOTS),
        "WEIGHBRIDGE_DRAIN_TIMEOUT_S": str(drain_timeout_s),
    }


def _problems(account: Account) -> tuple[str, ...]:
    found: Counter[str] = Counter(lost=len(account.lost), duplicated=len(account.duplicated))
    return tuple(f"{count} {name}" for name, count in found.items() if count)


def _is_accepted(request: Request) -> bool:
    return len(request.calls) == len(request.kinds)


def _wait_until(condition: Callable[[], object], *, what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"no {what} within {WAIT_S:.0f} s"
        time.sleep(0.05)
