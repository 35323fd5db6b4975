"""A real server that keeps its data: killed without warning, and started again on the same port and directory."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from weighbridge.embedded.binary import find_binary
from weighbridge.embedded.server import WATCHED

READY_S: Final = 30.0


class KeepingServer:
    """A server with an append-only file on a port that the system assigned. A killed parent leaves none behind."""

    def __init__(self, directory: Path, *, fsync: str = "always") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.password = secrets.token_urlsafe(12)
        self._configuration = directory / "server.conf"
        self._configuration.write_text(
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndaemonize no\nsave ""\n'
            f'appendonly yes\nappendfsync {fsync}\ndir "{directory}"\nlogfile "{directory / "server.log"}"\n'
            "enable-debug-command local\nmaxmemory-policy noeviction\n",
            encoding="utf-8",
        )
        self._guard: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def url(self, port: int | None = None) -> str:
        """The address; ``port``: of a proxy before it."""
        return f"redis://:{self.password}@127.0.0.1:{port or self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client to the server itself, past all proxies; no blind retries."""
        return redis.Redis.from_url(self.url(), socket_timeout=5, retry=Retry(NoBackoff(), 0), **options)

    def start(self, *, options: Mapping[str, object] | None = None, loaded: bool = True) -> None:
        """Start it, and wait until it answers (``loaded``: its data too). ``options`` are of this start alone."""
        extra = [word for name, value in (options or {}).items() for word in (f"--{name}", str(value))]
        self._guard = subprocess.Popen(
            [*WATCHED, "3", "", str(find_binary()), str(self._configuration), *extra],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_for_answer(loaded=loaded)

    def wait_until_loaded(self) -> None:
        """Wait until its data is loaded."""
        self._wait_for_answer(loaded=True)

    def _wait_for_answer(self, *, loaded: bool) -> None:
        deadline_s = time.monotonic() + READY_S
        with contextlib.closing(self.client()) as client:
            while True:
                try:
                    information: Any = client.info()
                except redis.RedisError:
                    information = {}
                if information and not (loaded and information["loading"]):
                    break
                assert time.monotonic() < deadline_s, f"the server does not answer: {self.log()}"
                time.sleep(0.01)
        self.pid = int(information["process_id"])

    def kill(self) -> None:
        """End it by SIGKILL, in the middle of whatever it does."""
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def fall_silent(self, *, for_s: float) -> None:
        """Take connections and bytes, and answer nothing, for some seconds from now; returns at once."""
        os.kill(self.pid, signal.SIGSTOP)
        timer = threading.Timer(for_s, os.kill, (self.pid, signal.SIGCONT))
        timer.daemon = True
        timer.start()

    def stop(self) -> None:
        """End it; again: does nothing."""
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        self._wait()

    def log(self) -> str:
        """What it has written to its log."""
        path = self.directory / "server.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _wait(self) -> None:
        if self._guard is not None:
            self._guard.wait(READY_S)
            if self._guard.stdin is not None and not self._guard.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    self._guard.stdin.close()
        self._guard = None
