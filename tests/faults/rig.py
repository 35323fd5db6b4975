"""One side under test, all of it real: a server, a proxy before it for each of service and worker, and those two."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis
from tests.faults.proxy import Proxy
from tests.faults.record import Record
from tests.faults.server import KeepingServer
from tests.faults.service import Service
from tests.faults.side import Ours, Side
from tests.faults.work import RECORD
from tests.faults.workers import WorkerCommand

PROCESSES: Final = 2
THREADS: Final = 8
READY_S: Final = 60.0
#: The folder of a module that Python imports when it starts.
WRONG_CLOCK: Final = Path(__file__).parent / "wrong_clock"


def wait_until(condition: Callable[[], object], *, what: str, within_s: float = READY_S) -> None:
    """Wait for a condition; an ``AssertionError`` says ``what`` did not come."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not happen within {within_s} s"
        time.sleep(0.02)


class Rig:
    """A side that runs. Its parts outlive a trial, since starting them costs seconds: see :meth:`renew`."""

    def __init__(
        self,
        side: Side,
        directory: Path,
        *,
        lease_s: float,
        fsync: str = "always",
        direct: bool = False,
        processes: int = PROCESSES,
    ) -> None:
        self.side = side
        self.direct = direct
        self.processes = processes
        self.lease_s = lease_s
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.record = Record(directory)
        self.server = KeepingServer(directory / "server", fsync=fsync)
        self.web_line = Proxy(self.server.port)
        self.worker_line = Proxy(self.server.port)
        self._open = contextlib.ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.server.stop)
            self.server.start()
            stack.enter_context(self.web_line)
            stack.enter_context(self.worker_line)
            self.client: redis.Redis = stack.enter_context(contextlib.closing(self.server.client()))
            self.worker = self.start_worker()
            stack.callback(self._stop_worker)
            self.service = self.start_service()
            stack.callback(self.service.stop)
            self.wait_for_worker(self.worker)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def start_service(self, *, clock_s: float = 0) -> Service:
        """A service of this side; ``clock_s``: how far its clock is ahead."""
        return Service(
            self.side.module, environment=self._environment(self.web_line, clock_s), log=self._log("service")
        )

    def start_worker(
        self, *, clock_s: float = 0, processes: int | None = None, threads: int = THREADS
    ) -> WorkerCommand:
        """A worker of this side, which the caller stops."""
        processes = processes or self.processes
        worker = WorkerCommand(
            self.side.worker_command(processes=processes, threads=threads),
            environment=self._environment(self.worker_line, clock_s),
            log=self._log("worker"),
            processes=processes,
        )
        worker.start()
        return worker

    def wait_for_worker(self, worker: WorkerCommand) -> None:
        """Wait until all processes of a worker fetch; those of weighbridge again, if some have died."""
        ready = "worker.ready" if isinstance(self.side, Ours) else "Worker process is ready for action"

        def alive() -> int:
            text = worker.text()
            # A process that a call ends at once dies before it has said that it is ready: each counts by itself.
            died = set(re.findall(r"worker\.died .*?\bpid=(\d+)", text))
            came = re.findall(r"worker\.ready .*?\bpid=(\d+)", text)
            return len(set(came) - died) if isinstance(self.side, Ours) else text.count(ready)

        wait_until(lambda: alive() >= worker.processes, what=f"{ready} in {worker.log}")

    def renew(self) -> None:
        """Begin a trial: nothing of the last one is left.

        weighbridge goes on as it is, and has to. Plain Dramatiq, which a trial leaves with stranded messages and
        stuck workers, is given an empty server and a new worker, or each fault would show what the last one broke.
        """
        if isinstance(self.side, Ours):
            return
        self.worker.stop()
        self.client.flushall()
        self.worker = self.start_worker()
        self.wait_for_worker(self.worker)

    def _stop_worker(self) -> None:
        self.worker.stop()  # whichever it is by then

    def _environment(self, line: Proxy, clock_s: float) -> dict[str, str]:
        own = self.side.environment(
            self.server, port=self.server.port if self.direct else line.port, lease_s=self.lease_s
        )
        shifted = {"PYTHONPATH": str(WRONG_CLOCK), "FAULTS_CLOCK_S": str(clock_s)} if clock_s else {}
        return {**own, **shifted, RECORD: str(self.directory)}

    def _log(self, what: str) -> Path:
        self._started += 1
        return self.directory / f"{what}-{self._started}.log"
