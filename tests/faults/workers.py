"""Real worker commands, ``weighbridge worker`` and ``dramatiq``, and their processes, to be killed one by one."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.documentation.blocks import ROOT

from weighbridge.embedded.watchdog import descendants, parents

END_S: Final = 60.0
#: A service manager starts a command again that has ended by itself: systemd's RestartSec is 0.1 s at its default.
RESTART_S: Final = 0.1


class WorkerCommand:
    """A worker command in a session of its own, kept running as a service manager does. Its output goes to a file."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, processes: int) -> None:
        self.log = log
        self.processes = processes
        self.starts = 0
        self.killed: set[int] = set()
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._kept = False
        self._keeper: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the command, and keep it running."""
        self._kept = True
        self._spawn()
        self._keeper = threading.Thread(target=self._keep, name="fault-service-manager", daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        """The command's own process, the supervisor of the others."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The processes directly below the command that run tasks."""
        with self._lock:
            process = self._process
        if process is None or process.poll() is not None:
            return []
        return [pid for pid in _children(process.pid) if _runs_tasks(pid)]

    def kill_child(self, rng: random.Random) -> int | None:
        """SIGKILL one of the processes that run tasks; its id."""
        children = self.children()
        if not children:
            return None
        pid = rng.choice(children)
        self.killed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def signal(self, signum: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the supervisor, or to its whole process group; it is not started again."""
        self._kept = False
        if group:
            os.killpg(self.pid, signum)
        else:
            os.kill(self.pid, signum)

    def wait(self, within_s: float = END_S) -> int:
        """Wait until the supervisor has ended; its exit code, as a shell shows it."""
        assert self._process is not None
        code = self._process.wait(within_s)
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """End everything at once; again: does nothing."""
        self._kept = False
        with self._lock:
            process = self._process
        if process is None:
            return
        everyone = [process.pid, *_descendants(process.pid)]
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(END_S)
        if self._keeper is not None:
            self._keeper.join(END_S)
        self._process = None

    def text(self) -> str:
        """What it has written."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _spawn(self) -> None:
        self.starts += 1
        with self.log.open("ab") as output, self._lock:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, start_new_session=True
            )

    def _keep(self) -> None:
        while self._kept:
            process = self._process
            assert process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
            if process.poll() is not None and self._kept:
                time.sleep(RESTART_S)
                if self._kept:
                    self._spawn()


def _children(pid: int) -> list[int]:
    return [child for child, parent in parents().items() if parent == pid]


def _descendants(pid: int) -> set[int]:
    return descendants(pid, parents())


def _runs_tasks(pid: int) -> bool:
    """Whether a process runs tasks: the resource tracker of ``multiprocessing`` stands beside Dramatiq's, and does not.

    Where no command line can be read (macOS), every child counts.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self/cmdline").exists()
    return bool(words) and b"resource_tracker" not in words
