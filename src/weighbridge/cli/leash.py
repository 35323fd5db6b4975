"""A child process on a leash: it never outlives this one, and its output comes line by line."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final, cast

from weighbridge.embedded.server import WATCHED

#: Lines of a child's output that are kept, to be shown if it fails.
KEPT_LINES: Final = 40
#: Seconds that a watchdog gets beyond its child's own grace, before it is given up.
WATCHDOG_S: Final = 5.0


class LeashedProcess:
    """A running command, ended by :meth:`end`, or by its watchdog when this process is gone, even killed.

    It has exactly ``environment``, and starts in ``folder`` (default: the current one). ``on_line`` is called on a
    thread of its own with each line of output, ``on_end`` on another with the exit status as a shell shows it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        environment: Mapping[str, str],
        grace_s: float,
        folder: str | None = None,
        on_line: Callable[[str], None],
        on_end: Callable[[LeashedProcess, int], None],
    ) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._grace_s = grace_s
        self._asked = False
        self._on_line = on_line
        self._on_end = on_end
        self._watchdog = subprocess.Popen(  # noqa: S603  # the command is ours
            [*WATCHED, str(grace_s), "", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            cwd=folder,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._waiter = threading.Thread(target=self._wait, name=f"{name}-end", daemon=True)
        self._reader.start()
        self._waiter.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._watchdog.returncode is None

    def ask_to_end(self) -> None:
        """Send SIGTERM, and SIGKILL after the grace; does not wait. Again: does nothing."""
        if not self._asked:
            self._asked = True
            self._tell_watchdog()

    def kill(self) -> None:
        """Send SIGKILL to it and to what it has started; does not wait."""
        self.ask_to_end()
        self._tell_watchdog()

    def _tell_watchdog(self) -> None:
        leash = cast("IO[bytes]", self._watchdog.stdin)
        if not leash.closed:
            with contextlib.suppress(BrokenPipeError):  # it has ended by itself meanwhile
                leash.write(b"\n")

    def end(self) -> int:
        """Ask it to end and wait until it has; the exit status as a shell shows it."""
        self.ask_to_end()
        self._waiter.join(self._grace_s + WATCHDOG_S)
        if self.running:
            self._watchdog.kill()
        self._waiter.join()
        self._reader.join(timeout=1)
        cast("IO[bytes]", self._watchdog.stdin).close()
        return self._watchdog.returncode

    def _read(self) -> None:
        with cast("IO[bytes]", self._watchdog.stdout) as output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self.last_lines.append(text)
                self._on_line(text)

    def _wait(self) -> None:
        status = self._watchdog.wait()
        self._reader.join(timeout=1)  # its last words come before the news of its end
        self._on_end(self, status)
