"""The watchdog, a script of its own: runs one command as its child and ends it when the parent is gone.

``python watchdog.py GRACE_S DIRECTORY BINARY ARGUMENT…``. The parent holds the other end of standard input: a
byte on it, or the end of file that even ``kill -9`` of the parent brings about, ends the command by SIGTERM,
and after GRACE_S seconds, or at a second byte, by SIGKILL. With a DIRECTORY (an empty word means none), the
command's output goes to a log in it, its process id to standard output, and the end removes the directory.

It is started in a session of its own, so a Ctrl-C in the terminal does not reach it, and imports nothing of
this package and little else, so it is up in some 15 ms.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from types import FrameType

#: Seconds that a command has at most if the parent has vanished: nobody waits for its last work any more.
ORPHAN_GRACE_S = 5.0
LOG = "server.log"


class Watchdog:
    """One command, its parent's pipe on descriptor 0, and the signals that wake the wait for either."""

    def __init__(self, *, grace_s: float, directory: str) -> None:
        self.grace_s = grace_s
        self.directory = directory
        self.times_asked = 0
        self.wake, woken = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, self.on_signal)
        signal.signal(signal.SIGTERM, self.on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def on_signal(self, signum: int, _frame: FrameType | None) -> None:
        """SIGTERM asks for the end, and a second one for a quick end; SIGCHLD only wakes."""
        self.times_asked += signum == signal.SIGTERM

    def run(self, command: list[str]) -> int:
        """The command's whole life; its exit status, as a shell shows it."""
        pid = self._spawn(command)
        status = self._wait(pid)
        asked = status is None
        if status is None:
            status = self._end(pid)
        self._kill_group(pid)  # what the command started and left behind
        if self.directory:
            self._clear_directory(keep_log=not asked)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _spawn(self, command: list[str]) -> int:
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]]
        actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        if self.directory:
            log = os.path.join(self.directory, LOG)  # noqa: PTH118  # pathlib is slow to import
            actions.append((os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=actions,
            setpgroup=0,
            setsigdef=[signal.SIGINT, signal.SIGHUP],  # what is ignored here would be ignored there
        )
        if self.directory:
            try:
                os.write(1, b"%d\n" % pid)
            except BrokenPipeError:
                self.times_asked += 1  # the parent is gone already
        return pid

    def _wait(self, pid: int) -> int | None:
        """Wait for the command, the pipe or SIGTERM; the wait status, ``None`` if it is to be ended."""
        while not self.times_asked:
            ready, _, _ = select.select([0, self.wake], [], [])
            if 0 in ready:
                self.grace_s = self.grace_s if os.read(0, 1) else min(self.grace_s, ORPHAN_GRACE_S)
                return None
            os.read(self.wake, 512)
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status
        return None

    def _end(self, pid: int) -> int:
        """SIGTERM, and SIGKILL when the grace is over or when asked again; the wait status."""
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + self.grace_s
        watched = [0, self.wake]
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status
            left = deadline - time.monotonic()
            if left <= 0 or self.times_asked > 1:
                self._kill_group(pid)
                return os.waitpid(pid, 0)[1]
            ready, _, _ = select.select(watched, [], [], left)
            if self.wake in ready:
                os.read(self.wake, 512)
            if 0 in ready and os.read(0, 1):
                self.times_asked = 2
            elif 0 in ready:
                watched = [self.wake]
                deadline = min(deadline, time.monotonic() + ORPHAN_GRACE_S)

    def _kill_group(self, pid: int) -> None:
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody is left in it (macOS says so by a refusal)

    def _clear_directory(self, *, keep_log: bool) -> None:
        """Remove what the server left; the log of one that failed by itself is the parent's to read."""
        for entry in os.scandir(self.directory):
            if not (keep_log and entry.name == LOG):
                os.unlink(entry.path)  # noqa: PTH108  # pathlib is slow to import
        if not keep_log:
            os.rmdir(self.directory)  # noqa: PTH106  # as above


if __name__ == "__main__":
    sys.exit(Watchdog(grace_s=float(sys.argv[1]), directory=sys.argv[2]).run(sys.argv[3:]))
