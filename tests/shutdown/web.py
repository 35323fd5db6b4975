"""A real server process with one of the two services, started and stopped as its operators do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.documentation.blocks import ROOT

READY_S: Final = 90.0
#: Times that a port is tried: another process may take it between the probe and the server's own bind.
PORT_ATTEMPTS: Final = 5
#: Seconds that processes have to vanish after SIGKILL.
VANISH_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a server ended: its exit code as a shell shows it, the seconds that it took, whether patience ended first."""

    code: int
    took_s: float
    killed: bool


class Web:
    """A server: one process, or a master and its workers, in a session of their own.

    All of them write to one pipe, so its end is the end of the last of them.

    :param command: The words after ``python -m``; ``{port}`` stands for the port.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._command = command
        self._environment = {**os.environ, **environment}

    def start(self, is_ready: Callable[[], bool]) -> None:
        """Start it on a port that the system assigns, and wait until it listens and ``is_ready``."""
        for _ in range(PORT_ATTEMPTS - 1):
            with contextlib.suppress(ChildProcessError):
                self._start(is_ready)
                return
        self._start(is_ready)

    def _start(self, is_ready: Callable[[], bool]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        words = [word.format(port=self.port) for word in self._command]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="shutdown-server-log", daemon=True)
        self._reader.start()
        deadline_s = time.monotonic() + READY_S
        while not (self._listens() and is_ready()):
            if self._process.poll() is not None:
                self.kill()
                raise ChildProcessError(f"the server did not start: {self.text()}")
            assert time.monotonic() < deadline_s, f"the server is not ready: {self.text()}"
            time.sleep(0.05)

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to the first process, the master of the others."""
        self._process.send_signal(signum)

    def wait(self, *, since_s: float, until_s: float) -> Exit:
        """Wait until all its processes have ended, and kill them at ``until_s``, as operators do."""
        # The reader ends with the last process, also where the master ends before its workers.
        self._reader.join(max(0.0, until_s - time.monotonic()))
        killed = self._reader.is_alive()
        took_s = time.monotonic() - since_s
        self.kill()
        code = self._process.returncode
        return Exit(code=code if code >= 0 else 128 - code, took_s=took_s, killed=killed)

    def kill(self) -> None:
        """End what is left of it at once; again: does nothing."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: macOS, of a group of zombies
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(VANISH_S)
        self._reader.join(VANISH_S)
        assert not self._reader.is_alive(), "a process has left the server's group"

    def text(self) -> str:
        """What its processes have written."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self.log.open("ab", buffering=0) as log, self._process.stdout as output:
            for line in output:
                log.write(line)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), READY_S):
            return True
        return False
