"""Whether all of a session is up: told of what its processes say, and asking the app's port itself."""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import urlsplit

import click

from weighbridge.cli.dev.terminal import Source

#: Where uvicorn says what it will listen on. It says so before the app is imported, and listens when it has started.
LISTENING: Final = re.compile(r"Uvicorn running on (http\S+)")
#: Where the worker's supervisor says that a process has started its threads.
WORKING: Final = re.compile(r" worker\.ready number=")
#: Seconds that the machine may take to answer itself.
ANSWER_S: Final = 0.5


class Readiness:
    """The session's way up. The server is there before it begins; the app and the worker come in any order."""

    def __init__(self) -> None:
        self._url: str | None = None
        self._worker: bool | None = None
        self.complete = False

    def hear(self, source: Source, line: str) -> None:
        """A process has said something; from any thread."""
        if source is Source.WEB and self._url is None:
            found = LISTENING.search(click.unstyle(line))
            self._url = found[1] if found else None
        elif source is Source.WORKER and WORKING.search(line):
            self._worker = True

    def worker_ended(self) -> None:
        """The worker has ended by itself, so it is not waited for."""
        self._worker = False

    def news(self) -> str | None:
        """What there is to say when the last of them has come up, once; else ``None``."""
        if self.complete or self._worker is None or self._url is None or not _answers(self._url):
            return None
        self.complete = True
        if self._worker:
            return f"ready: {self._url} (server, web and worker are up; Ctrl-C stops them)"
        return f"ready without a worker, which has ended (see above): {self._url} (server and web are up)"


def _answers(url: str) -> bool:
    """Whether somebody listens; uvicorn logs nothing of a connection without a request."""
    place = urlsplit(url)
    try:
        with socket.create_connection((place.hostname or "", place.port or 80), timeout=ANSWER_S):
            return True
    except OSError:
        return False
