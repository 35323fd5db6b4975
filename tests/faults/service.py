"""A real uvicorn process with one of the two services. As a script it is that process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from tests.documentation.blocks import ROOT
from tests.faults.work import IS_SERVICE

READY_S: Final = 60.0
STOP_S: Final = 30.0


class Service:
    """A running service. Its output goes to a file."""

    def __init__(self, module: str, *, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.service", f"{module}:app"],
                cwd=ROOT,
                env={**os.environ, **environment, IS_SERVICE: "yes"},
                stdout=subprocess.PIPE,
                stderr=output,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the service did not start: {log.read_text(encoding='utf-8', errors='replace')}"
        self.port = int(line)
        self.pid = self._process.pid
        self._wait_until_ready()

    def stop(self) -> int:
        """End it as a supervisor does, by SIGTERM, and by SIGKILL if it stays; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(STOP_S)
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + READY_S
        while True:
            try:
                connection = HTTPConnection("127.0.0.1", self.port, timeout=READY_S)
                connection.request("GET", "/other")
                connection.getresponse().read()
            except OSError:
                assert time.monotonic() < deadline_s, self.log.read_text(encoding="utf-8", errors="replace")
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()


def main(app: str) -> None:
    """Serve ``app`` on a port that the system assigns, which is told on standard output."""
    import uvicorn  # only in the process that serves

    # asyncio switches Nagle's algorithm off only for a socket that says it is TCP.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    configuration = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
    uvicorn.Server(configuration).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
