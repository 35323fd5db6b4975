"""One embedded server: a child of this process, reachable by this user alone, ended with this process."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, cast

from weighbridge.embedded import watchdog
from weighbridge.embedded.binary import THREE_WAYS, find_binary
from weighbridge.errors import EmbeddedServerError

#: Bytes of a unix socket's path, its final zero included: 108 on Linux, 104 on macOS.
SOCKET_PATH_LIMIT: Final = 104
#: Times that a port is tried: another process may take it between the probe and the server's own bind.
PORT_ATTEMPTS: Final = 5
#: Seconds that the server has to end before it is killed. It keeps nothing, so it has nothing to finish.
GRACE_S: Final = 3.0
STOP_TIMEOUT_S: Final = GRACE_S + 5
#: What comes before a command that shall end when this process is gone; then the words of ``watchdog.py``.
WATCHED: Final = (sys.executable, "-I", "-S", watchdog.__file__)


class EmbeddedServer:
    """A running server, never for production: nothing is kept on disk.

    ``url`` is a unix socket in a directory that only this user may enter, or a loopback port with a password;
    ``pid`` is the server's own process. A killed parent leaves no server behind: a watchdog holds a pipe.
    """

    def __init__(
        self, *, address: _Address, pid: int, binary: Path, directory: Path, guard: subprocess.Popen[bytes]
    ) -> None:
        self.url = address.url
        self.pid = pid
        self.binary = binary
        self.directory = directory
        self._address = address
        self._guard = guard

    @classmethod
    def start(cls, *, tcp: bool = False, ready_timeout_s: float = 10.0) -> Self:
        """Start a server and wait until it answers, some 50 ms. Blocks: in async code, call it from a thread.

        :param tcp: A port on 127.0.0.1 that the system assigns, and a password, instead of a unix socket.
        :param ready_timeout_s: Seconds in which it must answer.
        :raises EmbeddedServerError: if there is no binary, or it does not come up; its log is quoted.
        """
        binary = find_binary()
        for _ in range(PORT_ATTEMPTS - 1):
            try:
                return cls._start(binary, tcp=tcp, ready_timeout_s=ready_timeout_s)
            except _AddressTakenError:
                continue
        return cls._start(binary, tcp=tcp, ready_timeout_s=ready_timeout_s)

    @classmethod
    def _start(cls, binary: Path, *, tcp: bool, ready_timeout_s: float) -> Self:
        directory = _private_directory()
        address = _Address.on_port() if tcp else _Address.on_socket(directory)
        configuration = directory / "server.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(address.configuration(directory), encoding="utf-8")
        guard = subprocess.Popen(  # noqa: S603  # every word is ours
            [*WATCHED, str(GRACE_S), str(directory), str(binary), str(configuration)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        with cast("IO[bytes]", guard.stdout) as told:
            pid = told.read(20)
        server = cls(address=address, pid=int(pid or 0), binary=binary, directory=directory, guard=guard)
        try:
            address.wait_for_answer(guard, within_s=ready_timeout_s)
        except TimeoutError as error:
            log = server.log()
            server.stop()
            if tcp and "bind" in log.lower():
                raise _AddressTakenError(problem=f"{address.url} is taken", remedy="start again") from error
            raise EmbeddedServerError(
                problem=f"{binary} {error}{_quoted(log)}", remedy=f"mend it, or {THREE_WAYS}"
            ) from error
        return server

    @property
    def running(self) -> bool:
        """Whether the server has not ended, by :meth:`stop` or by itself."""
        return self._guard.poll() is None

    def log(self) -> str:
        """What the server has written to its log; empty once it is stopped."""
        path = self.directory / watchdog.LOG
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End the server and remove its directory; done when this returns. Again: does nothing."""
        stdin = self._guard.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # the server ended by itself, and the watchdog with it
                # A byte, not only the closing: a forked child of this process may hold the pipe open too.
                stdin.write(b"\n")
            stdin.close()
        try:
            self._guard.wait(STOP_TIMEOUT_S)
            if self._guard.returncode < 0:  # the watchdog was killed, and could not end the server
                self._address.shut_down()
        finally:
            if self.directory.exists():
                shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _AddressTakenError(EmbeddedServerError):
    """Another process took the port first."""


class _Address:
    """Where a server listens, in its own words and in ours."""

    def __init__(self, *, family: int, place: str | tuple[str, int], password: str | None) -> None:
        self.family = family
        self.place = place
        self.password = password

    @classmethod
    def on_socket(cls, directory: Path) -> Self:
        return cls(family=socket.AF_UNIX, place=str(directory / "s"), password=None)

    @classmethod
    def on_port(cls) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        # Any user of the machine may connect to a port, and a server without a password writes files for all.
        return cls(family=socket.AF_INET, place=("127.0.0.1", port), password=secrets.token_urlsafe(16))

    @property
    def url(self) -> str:
        if isinstance(self.place, str):
            return f"unix://{self.place}?db=0"
        return f"redis://:{self.password}@{self.place[0]}:{self.place[1]}/0"

    def configuration(self, directory: Path) -> str:
        lines = [
            "daemonize no",
            'save ""',
            "appendonly no",
            f"dir {_word(str(directory))}",
            "maxmemory-policy noeviction",
        ]
        if isinstance(self.place, str):
            lines += ["port 0", f"unixsocket {_word(self.place)}", "unixsocketperm 700"]
        else:
            lines += [f"bind {self.place[0]}", f"port {self.place[1]}", f"requirepass {self.password}"]
        return "\n".join(lines) + "\n"

    def wait_for_answer(self, guard: subprocess.Popen[bytes], *, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not self._answers():
            if guard.poll() is not None:
                raise TimeoutError(f"ended at once, with status {guard.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"did not answer within {within_s} s")
            time.sleep(0.002)

    def _answers(self) -> bool:
        """A PING by hand: redis-py takes longer to import than the server to start."""
        try:
            return self._ask("PING").startswith(b"+PONG")
        except OSError:  # not there yet, or not listening yet: the caller asks again until its deadline
            return False

    def shut_down(self) -> None:
        with contextlib.suppress(OSError):  # it has ended already: nobody else listens in our directory
            self._ask("SHUTDOWN NOSAVE")

    def _ask(self, command: str) -> bytes:
        with socket.socket(self.family) as client:
            client.settimeout(1)
            client.connect(self.place)
            if self.password is not None:
                client.sendall(f"AUTH {self.password}\r\n".encode())
                if not client.recv(64).startswith(b"+OK"):
                    return b""  # another server than ours, which took the port
            client.sendall(f"{command}\r\n".encode())
            return client.recv(64)


def _private_directory() -> Path:
    """A directory of this user's alone, whose path leaves room for a socket's name."""
    directory = tempfile.mkdtemp(prefix="weighbridge-")
    if _too_long(directory):
        Path(directory).rmdir()
        directory = tempfile.mkdtemp(prefix="weighbridge-", dir="/tmp")
    return Path(directory)


def _too_long(directory: str) -> bool:
    return len(os.fsencode(directory)) + len("/s") + 1 > SOCKET_PATH_LIMIT


def _word(text: str) -> str:
    """Text as one word of a configuration file."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _quoted(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return "".join(f"\n    {line}" for line in lines[-8:])
