"""``weighbridge dev``: a server, the app with reload, and a worker, in one terminal, for development."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Final, assert_never

import click

from weighbridge.cli.group import RefusedError
from weighbridge.cli.leash import LeashedProcess
from weighbridge.cli.watch import SourceWatch
from weighbridge.embedded import EmbeddedServer, ExternalServer, find_server
from weighbridge.embedded.choice import shown_place
from weighbridge.errors import ModuleError
from weighbridge.settings import Settings
from weighbridge.worker.signals import StopSignals, Wish

#: How often the server's process is looked at, in seconds.
LOOK_S: Final = 0.5
#: Seconds that the app has for what it has begun, at reload and at the end; then connections are closed.
WEB_GRACE_S: Final = 5
#: Seconds that running calls have in the worker, at restart and at the end.
WORKER_GRACE_S: Final = 5
#: Seconds that a process needs beyond the grace of its own work, to drain and to wait for its children.
MARGIN_S: Final = 10


STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Source(StrEnum):
    """Whose line of output it is."""

    SERVER = "server"
    WEB = "web"
    WORKER = "worker"
    DEV = "dev"


COLOURS: Final = {
    Source.SERVER: "magenta",
    Source.WEB: "cyan",
    Source.WORKER: "yellow",
    Source.DEV: "bright_black",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Somebody asks to stop: Ctrl-C, SIGTERM, a closed terminal or output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A child has ended."""

    child: LeashedProcess
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Source files have changed."""

    paths: Sequence[Path]


Event = Stop | Ended | Changed


@click.command("dev")
@click.argument("app")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the app listens on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port that the app listens on; 0 takes a free one.",
)
def command(app: str, *, host: str, port: int) -> None:
    """Run APP (module:name, as for uvicorn) with all that it needs, for development.

    Starts a server (or takes WEIGHBRIDGE_BROKER_URL), the app under uvicorn with reload, and one worker for
    the app's module, which restarts when a source file below this folder changes. One Ctrl-C stops all of
    them, a second one at once. Nothing is kept: what waits in the queue is gone with the server.

    Exit code: 0 if it was stopped, otherwise that of the app, or 1 if the server ended.
    """
    if os.name != "posix":
        raise RefusedError("weighbridge dev needs Linux or macOS; on Windows, run it in WSL")
    module, _, name = app.partition(":")
    if not module or not name:
        raise ModuleError(module=app, problem="does not name an app", remedy="write module:name, as in app.main:app")
    if find_spec("uvicorn") is None:
        raise RefusedError("weighbridge dev runs the app under uvicorn: python -m pip install uvicorn")
    sys.exit(Dev(app=app, module=module, host=host, port=port).run())


class Dev:
    """The session: children that talk into one terminal, and one loop that waits for what happens to them."""

    def __init__(self, *, app: str, module: str, host: str, port: int) -> None:
        self._app = app
        self._module = module
        self._host = host
        self._port = port
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._printing = threading.Lock()
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._environment: dict[str, str] = {}
        self._web: LeashedProcess | None = None
        self._worker: LeashedProcess | None = None
        self._restart_worker = False
        self._signals = StopSignals()
        self._impatient = False

    def run(self) -> int:
        """Run until something asks to stop, or fails; the exit code."""
        if isinstance(sys.stdout, TextIOWrapper):
            # The children may write what the terminal's encoding cannot show.
            sys.stdout.reconfigure(errors="replace")
        handlers = {each: signal.signal(each, self._on_signal) for each in STOP_SIGNALS}
        try:
            with find_server(Settings().broker_url) as server:
                self._say(Source.SERVER, _introduction(server))
                self._environment = {**os.environ, "WEIGHBRIDGE_BROKER_URL": server.url}
                try:
                    status = self._serve(server)
                finally:
                    self._say(Source.DEV, "stopping")
                    # The app first: what it drains into the queue then still finds the server.
                    self._end(self._web)
                    self._end(self._worker)
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)
        self._say(Source.DEV, "stopped")
        return status

    # -- the loop -------------------------------------------------------------------------------------------

    def _serve(self, server: EmbeddedServer | ExternalServer) -> int:
        """Wait for what happens; returns the exit code when all of it shall stop."""
        with SourceWatch(Path.cwd(), on_change=lambda paths: self._events.put(Changed(paths=paths))):
            self._worker = self._start_worker()
            self._web = self._start_web()
            while True:
                event = self._next_event(timeout_s=LOOK_S)
                match event:
                    case Stop():
                        return 0
                    case Ended(child=child, status=status) if child is self._web:
                        self._say(Source.WEB, f"ended with status {status}")
                        return status or 1
                    case Ended(status=status):
                        self._on_worker_end(status)
                    case Changed(paths=paths):
                        self._on_change(paths)
                    case None if isinstance(server, EmbeddedServer) and not server.running:
                        self._say(Source.SERVER, f"ended by itself; its log says:\n{server.log()}")
                        return 1
                    case None:
                        continue
                    case _ as never:
                        assert_never(never)

    def _on_change(self, paths: Sequence[Path]) -> None:
        shown = ", ".join(str(path.relative_to(Path.cwd())) for path in paths[:3])
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""  # noqa: PLR2004  # as many as are shown
        self._say(Source.DEV, f"{shown}{more} changed: the worker restarts")
        if self._worker is None:
            self._worker = self._start_worker()
        else:
            self._restart_worker = True
            self._worker.ask_to_end()

    def _on_worker_end(self, status: int) -> None:
        if self._restart_worker:
            self._restart_worker = False
            self._worker = self._start_worker()
        else:
            self._worker = None
            self._say(Source.WORKER, f"ended with status {status}; it starts again when a source file has changed")

    def _end(self, child: LeashedProcess | None) -> None:
        """End a child and wait until it has; another wish to stop ends it, and those after it, at once."""
        if child is None:
            return
        child.ask_to_end()
        while child.running:
            if isinstance(self._next_event(timeout_s=LOOK_S), Stop):
                self._impatient = True
            if self._impatient:
                child.kill()
        child.end()

    def _next_event(self, *, timeout_s: float) -> Event | None:
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    # -- children -------------------------------------------------------------------------------------------

    def _start_web(self) -> LeashedProcess:
        listening = ["--host", self._host, "--port", str(self._port)]
        ending = ["--timeout-graceful-shutdown", str(WEB_GRACE_S)]
        colours = "--use-colors" if self._coloured else "--no-use-colors"
        return self._start(
            Source.WEB,
            ["-m", "uvicorn", self._app, "--reload", *listening, *ending, colours],
            grace_s=WEB_GRACE_S + MARGIN_S,
        )

    def _start_worker(self) -> LeashedProcess:
        return self._start(
            Source.WORKER,
            ["-m", "weighbridge", "worker", self._module, "--processes", "1", "--grace", str(WORKER_GRACE_S)],
            grace_s=WORKER_GRACE_S + MARGIN_S,
        )

    def _start(self, source: Source, words: list[str], *, grace_s: float) -> LeashedProcess:
        return LeashedProcess(
            [sys.executable, *words],
            name=source,
            environment=self._environment,
            grace_s=grace_s,
            on_line=lambda line: self._say(source, line),
            on_end=lambda child, status: self._events.put(Ended(child=child, status=status)),
        )

    # -- the terminal ---------------------------------------------------------------------------------------

    def _say(self, source: Source, text: str) -> None:
        prefix = f"{source:<6} |"
        shown = click.style(prefix, fg=COLOURS[source]) if self._coloured else prefix
        with self._printing:
            try:
                for line in text.splitlines() or [""]:
                    sys.stdout.write(f"{shown} {line}\n")
                sys.stdout.flush()
            except BrokenPipeError:  # nobody reads any more, as after `| head`
                self._events.put(Stop())

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        # The same wish may come twice: from the terminal, and from a tool that passes it on.
        if self._signals.heard(time.monotonic()) is not Wish.IGNORE:
            self._events.put(Stop())


def _introduction(server: EmbeddedServer | ExternalServer) -> str:
    if isinstance(server, EmbeddedServer):
        return f"{server.binary.name} started at {shown_place(server.url)}; it keeps nothing when it stops"
    return f"{shown_place(server.url)}, as configured"
