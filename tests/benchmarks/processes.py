"""Real processes for benchmarks: a service under uvicorn and a worker, each with a log of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
READY_S: Final = 60.0
STOP_S: Final = 30.0
LISTENING: Final = re.compile(r"Uvicorn running on http://[\d.]+:(\d+)")
WORKING: Final = re.compile(r"worker\.ready .*?\bpid=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that serves on ``port`` of this machine, in the process ``pid``."""

    port: int
    pid: int


@contextmanager
def service(app: str, *options: str, environment: Mapping[str, str], log: Path) -> Iterator[Service]:
    """``app`` under uvicorn, with further ``options`` of its command."""
    # A connection that is closed as idle in the moment in which it is used again would look like a refused request.
    patient = ("--timeout-keep-alive", "600", "--timeout-graceful-shutdown", "1")
    words = ["-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "0", "--no-access-log", *patient, *options]
    with _process(words, ready=LISTENING, environment=environment, log=log) as (process, port):
        yield Service(port=int(port), pid=process.pid)


@contextmanager
def worker(module: str, *options: str, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """``weighbridge worker`` for the tasks of ``module``."""
    with _process(["-m", "weighbridge", "worker", module, *options], ready=WORKING, environment=environment, log=log):
        yield


@contextmanager
def _process(
    words: list[str], *, ready: re.Pattern[str], environment: Mapping[str, str], log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHBRIDGE_")}
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env={**kept, **environment}, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield process, _said(process, ready, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _said(process: subprocess.Popen[bytes], ready: re.Pattern[str], log: Path) -> str:
    """What the process says when it is ready."""
    deadline_s = time.monotonic() + READY_S
    while (found := ready.search(log.read_text(errors="replace"))) is None:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"{process.args!r} is not ready:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)
    return found[1]
