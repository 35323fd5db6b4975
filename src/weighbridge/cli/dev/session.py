"""A session of ``weighbridge dev``: children that talk into one terminal, and one loop over what happens to them."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, assert_never

import click

from weighbridge.cli import app_reference
from weighbridge.cli.dev.readiness import Readiness
from weighbridge.cli.dev.terminal import Source, Terminal
from weighbridge.cli.dev.watch import SourceWatch
from weighbridge.cli.leash import LeashedProcess
from weighbridge.cli.served import with_header
from weighbridge.embedded import EmbeddedServer, ExternalServer, find_server
from weighbridge.embedded.choice import shown_place
from weighbridge.errors import ModuleError
from weighbridge.settings import Settings
from weighbridge.worker.control import GIVE_BACK_S
from weighbridge.worker.signals import StopSignals, Wish

#: How often the server's process is looked at, in seconds.
LOOK_S: Final = 0.5
#: How often it is asked whether all is up, until it is.
LOOK_UNTIL_READY_S: Final = 0.1
#: Seconds that the app has for what it has begun, at reload and at the end; then connections are closed.
WEB_GRACE_S: Final = 5
#: Seconds that running calls have in the worker, at restart and at the end.
WORKER_GRACE_S: Final = 5
#: Seconds that a process needs beyond the grace of its own work, to drain and to wait for its children.
MARGIN_S: Final = 10
#: Seconds that the import of the app may take before it is said what is waited for.
SLOW_IMPORT_S: Final = 3

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The wish to stop has come again, so soon that it counts as the same one."""


Event = Stop | Ended | Changed | Repeated


class Session:
    """One run of the command: ``app`` is ``module:name``, and ``module`` its first half."""

    def __init__(self, *, app: str, module: str, host: str, port: int, decision_header: bool) -> None:
        self._app = app
        self._served, self._variables = with_header(app) if decision_header else (app, {})
        self._module = module
        self._host = host
        self._port = port
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._terminal = Terminal(on_gone=lambda: self._events.put(Stop()))
        self._say = self._terminal.say
        self._readiness = Readiness()
        self._environment: dict[str, str] = {}
        self._web: LeashedProcess | None = None
        self._worker: LeashedProcess | None = None
        self._restart_worker = False
        self._signals = StopSignals()
        self._impatient = False

    def run(self) -> int:
        """Run until something asks to stop, or fails; the exit code.

        :raises ModuleError: if importing the app ends the process that tries it.
        """
        handlers = {each: signal.signal(each, self._on_signal) for each in STOP_SIGNALS}
        try:
            with find_server(Settings().broker_url) as server:
                # The app is looked up with the very environment that it will run in, so after the server has started.
                self._environment = {**os.environ, **self._variables, "WEIGHBRIDGE_BROKER_URL": server.url}
                status = self._look_up_app()
                if status is None:
                    self._say(Source.SERVER, _introduction(server))
                    status = self._serve_to_the_end(server)
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)
        return status

    def _serve_to_the_end(self, server: EmbeddedServer | ExternalServer) -> int:
        try:
            status = self._serve(server)
        finally:
            self._say(Source.DEV, f"stopping: {self._patience()}")
            # The app first: what it drains into the queue then still finds the server.
            self._end(self._web)
            self._end(self._worker)
        self._say(Source.DEV, "stopped")
        return status

    # -- before anything starts -----------------------------------------------------------------------------

    def _look_up_app(self) -> int | None:
        """Let a process of its own import the app; an exit code if there is nothing to run, with the reason shown.

        :raises ModuleError: if that process ends without a reason.
        """
        lines: list[str] = []
        words = ["-P", "-m", app_reference.__name__, self._app]  # -P: as for the worker's processes
        child = self._start(words, name="look-up", grace_s=WEB_GRACE_S, on_line=lines.append)
        slow_at_s = time.monotonic() + SLOW_IMPORT_S
        while True:
            match self._next_event(timeout_s=LOOK_S):
                case Stop():
                    self._end(child)
                    return 0
                case Ended(status=status):
                    break
                case _:
                    if time.monotonic() > slow_at_s:
                        slow_at_s = float("inf")
                        self._say(Source.DEV, f"importing {self._module} takes its time …")
        child.end()
        if status == 0:
            return None
        for line in lines:
            click.echo(line, err=True)
        if status == app_reference.REFUSED and lines:
            return status
        raise ModuleError(
            module=self._module,
            problem=f"ends the process that imports it, with status {status}",
            remedy=f"mend it until python -c 'import {self._module}' works here",
        )

    # -- the loop -------------------------------------------------------------------------------------------

    def _serve(self, server: EmbeddedServer | ExternalServer) -> int:
        """Wait for what happens; returns the exit code when all of it shall stop."""
        with SourceWatch(Path.cwd(), on_change=lambda paths: self._events.put(Changed(paths=paths))):
            self._worker = self._start_worker()
            self._web = self._start_web()
            while True:
                if news := self._readiness.news():
                    self._say(Source.DEV, news, bold=True)
                event = self._next_event(timeout_s=LOOK_S if self._readiness.complete else LOOK_UNTIL_READY_S)
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
                    case Repeated() | None:
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
            self._readiness.worker_ended()
            self._say(Source.WORKER, f"ended with status {status}; it starts again when a source file has changed")

    def _end(self, child: LeashedProcess | None) -> None:
        """End a child and wait until it has; another wish to stop ends it, and those after it, at once."""
        if child is None:
            return
        child.ask_to_end()
        while child.running:
            if self._impatient:
                child.kill()
            match self._next_event(timeout_s=LOOK_S):
                case Stop() if not self._impatient:
                    self._impatient = True
                    self._say(Source.DEV, "ending all at once")
                case Repeated():
                    self._say(
                        Source.DEV,
                        "that came within a second of the first, so it counts as the same one; "
                        "Ctrl-C once more ends all at once",
                    )
                case _:
                    continue
        child.end()

    def _patience(self) -> str:
        """What is waited for, and for how long at most."""
        waits = [f"requests and calls in the app have at most {WEB_GRACE_S + MARGIN_S} s"]
        if self._worker is not None:
            waits.append(f"calls in the worker at most {WORKER_GRACE_S + GIVE_BACK_S:.0f} s")
        return f"{', then '.join(waits)}; Ctrl-C again ends all at once"

    def _next_event(self, *, timeout_s: float) -> Event | None:
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    # -- children -------------------------------------------------------------------------------------------

    def _start_web(self) -> LeashedProcess:
        listening = ["--host", self._host, "--port", str(self._port)]
        ending = ["--timeout-graceful-shutdown", str(WEB_GRACE_S)]
        colours = "--use-colors" if self._terminal.coloured else "--no-use-colors"
        words = ["-m", "uvicorn", self._served, "--reload", *listening, *ending, colours]
        return self._start_speaking(Source.WEB, words, grace_s=WEB_GRACE_S + MARGIN_S)

    def _start_worker(self) -> LeashedProcess:
        words = ["-m", "weighbridge", "worker", self._module, "--processes", "1", "--grace", str(WORKER_GRACE_S)]
        return self._start_speaking(Source.WORKER, words, grace_s=WORKER_GRACE_S + MARGIN_S)

    def _start_speaking(self, source: Source, words: list[str], *, grace_s: float) -> LeashedProcess:
        def on_line(line: str) -> None:
            self._say(source, line)
            self._readiness.hear(source, line)

        return self._start(words, name=source, grace_s=grace_s, on_line=on_line)

    def _start(self, words: list[str], *, name: str, grace_s: float, on_line: Callable[[str], None]) -> LeashedProcess:
        return LeashedProcess(
            [sys.executable, *words],
            name=name,
            environment=self._environment,
            grace_s=grace_s,
            on_line=on_line,
            on_end=lambda child, status: self._events.put(Ended(child=child, status=status)),
        )

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        # The same wish may come twice: from the terminal, and from a tool that passes it on.
        ignored = self._signals.heard(time.monotonic()) is Wish.IGNORE
        self._events.put(Repeated() if ignored else Stop())


def _introduction(server: EmbeddedServer | ExternalServer) -> str:
    if isinstance(server, EmbeddedServer):
        return f"{server.binary.name} started at {shown_place(server.url)}; it keeps nothing when it stops"
    return f"{shown_place(server.url)}, as configured"
