"""The watchdog, a script of its own: runs one command as its child and ends it when the parent is gone.

``python watchdog.py GRACE_S DIRECTORY BINARY ARGUMENT…``. The parent holds the other end of standard input: a
byte on it, or the end of file that even ``kill -9`` of the parent brings about, ends the command by SIGTERM,
and after GRACE_S seconds, or at a second byte, by SIGKILL, which all that it has started gets too, in whatever
session. With a DIRECTORY (an empty word means none), the command's output goes to a log in it, its process id to
standard output, and the end removes the directory.

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

TYPE_CHECKING = False  # the module typing is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a command has at most if the parent has vanished: nobody waits for its last work any more.
ORPHAN_GRACE_S = 5.0
#: Seconds to wait for what was killed: a process in the middle of a disk's answer ends only after that.
KILLED_S = 3.0
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
        send(signal.SIGKILL, os.killpg, pid)  # what the command started and left behind
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
                return self._kill_all(pid)
            ready, _, _ = select.select(watched, [], [], left)
            if self.wake in ready:
                os.read(self.wake, 512)
            if 0 in ready and os.read(0, 1):
                self.times_asked = 2
            elif 0 in ready:
                watched = [self.wake]
                deadline = min(deadline, time.monotonic() + ORPHAN_GRACE_S)

    def _kill_all(self, pid: int) -> int:
        """SIGKILL to the command and all below it; the wait status, when none of them runs any more.

        A worker's processes are in sessions of their own, out of reach of the group's signals. Whoever is stopped
        starts no further process while they are listed.
        """
        send(signal.SIGSTOP, os.killpg, pid)
        below = descendants(pid, parents())
        send(signal.SIGKILL, os.killpg, pid)
        for each in below:
            send(signal.SIGKILL, os.kill, each)
        status = os.waitpid(pid, 0)[1]
        deadline = time.monotonic() + KILLED_S
        while below & parents().keys() and time.monotonic() < deadline:
            time.sleep(0.01)
        return status

    def _clear_directory(self, *, keep_log: bool) -> None:
        """Remove what the server left; the log of one that failed by itself is the parent's to read."""
        for entry in os.scandir(self.directory):
            if not (keep_log and entry.name == LOG):
                os.unlink(entry.path)  # noqa: PTH108  # pathlib is slow to import
        if not keep_log:
            os.rmdir(self.directory)  # noqa: PTH106  # as above


def send(signum: signal.Signals, kill: Callable[[int, int], None], pid: int) -> None:
    """Send a signal to a process or to a group, if anybody is left there."""
    try:
        kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        return  # nobody is (macOS says so by a refusal)


def descendants(pid: int, parent_of: dict[int, int]) -> set[int]:
    """All processes below one, without itself."""
    found: set[int] = set()
    while more := {child for child, parent in parent_of.items() if parent in found | {pid}} - found:
        found |= more
    return found


def parents() -> dict[int, int]:
    """Each running process's parent; one that has ended and that nobody has waited for is not among them."""
    return parents_by_proc() if os.path.exists("/proc/self/stat") else parents_by_ps()  # noqa: PTH110  # as above


def parents_by_proc() -> dict[int, int]:
    """From Linux's files, since a small container image has no ``ps``."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # as above
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123  # as above
                    # After the command, which may hold any character: its state, then the parent.
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue  # it has ended between the listing and the look
            if state not in (b"Z", b"X"):
                found[int(name)] = int(parent)
    return found


def parents_by_ps() -> dict[int, int]:
    """From ``ps``, which macOS always has."""
    import subprocess  # noqa: PLC0415  # slow to import, and needed at a violent end only

    words = ["/bin/ps", "-A", "-o", "pid=,ppid=,stat="]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout  # noqa: S603  # ours
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


if __name__ == "__main__":
    sys.exit(Watchdog(grace_s=float(sys.argv[1]), directory=sys.argv[2]).run(sys.argv[3:]))
