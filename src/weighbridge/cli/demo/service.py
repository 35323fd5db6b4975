"""The demo's service: the orders example under uvicorn, and one worker, as processes of their own."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from weighbridge.cli.group import RefusedError
from weighbridge.cli.leash import LeashedProcess
from weighbridge.settings_fault import PREFIX

START_TIMEOUT_S: Final = 30.0
GRACE_S: Final = 15.0
SHOWN_LINES: Final = 15
#: Where uvicorn says that it listens.
LISTENING: Final = re.compile(r"Uvicorn running on (http://[\d.]+:\d+)")
#: Where the worker says that its threads have started.
WORKING: Final = re.compile(r"worker\.ready .*?\bpid=(\d+)")


def orders_folder() -> Path:
    """The folder from which the example is imported as ``orders``: in a wheel, or in a checkout.

    :raises RefusedError: if this installation came without it.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "shipped", package.parents[1] / "examples"):
        if (folder / "orders" / "app.py").is_file():
            return folder
    raise RefusedError(
        f"this installation came without the orders example (looked beside {package}); "
        "install weighbridge from a wheel, or with pip install -e from a checkout"
    )


class Service:
    """One process of the service, from its start to its end; ``said`` is what it told when it was ready."""

    def __init__(self, name: str, words: list[str], *, ready: re.Pattern[str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._ready = ready
        self._heard = threading.Event()
        self._status: int | None = None
        self.said = ""
        self._process = LeashedProcess(
            [sys.executable, *words],
            name=name,
            environment=environment,
            # Not the current folder: a pyproject.toml there may hold settings of the user's.
            folder=environment["ORDERS_FOLDER"],
            grace_s=GRACE_S,
            on_line=self._on_line,
            on_end=self._on_end,
        )

    @classmethod
    def web(cls, *, policy: str, environment: Mapping[str, str]) -> Self:
        """The orders app under uvicorn on a free port; ``said`` is its address."""
        listening = ["--host", "127.0.0.1", "--port", "0"]
        # A connection that the service closes as idle in the moment in which it is used again looks like a fault.
        patient = ["--timeout-keep-alive", "60"]
        words = ["-m", "uvicorn", "orders.app:app", *listening, *patient, "--no-access-log"]
        return cls("web", words, ready=LISTENING, environment={**environment, f"{PREFIX}POLICY": policy})

    @classmethod
    def worker(cls, *, environment: Mapping[str, str]) -> Self:
        """One worker process; ``said`` is its process id."""
        words = ["-m", "weighbridge", "worker", "orders.tasks", "--processes", "1"]
        return cls("worker", words, ready=WORKING, environment=environment)

    def wait_until_ready(self) -> str:
        """What the process said when it was ready.

        :raises RefusedError: if it ends, or says nothing in time; its last lines are quoted.
        """
        in_time = self._heard.wait(START_TIMEOUT_S)
        if self.said:
            return self.said
        what = f"ended with status {self._status}" if in_time else f"was not ready within {START_TIMEOUT_S:.0f} s"
        raise RefusedError(f"the {self._name} {what}\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its output, to be shown when something went wrong."""
        return "\n    ".join([f"The last lines of the {self._name}:", *list(self._process.last_lines)[-SHOWN_LINES:]])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.end()

    def _on_line(self, line: str) -> None:
        found = self._ready.search(line)
        if found and not self.said:
            self.said = found[1]
            self._heard.set()

    def _on_end(self, _process: LeashedProcess, status: int) -> None:
        self._status = status
        self._heard.set()


def service_environment(*, broker_url: str, namespace: str, folder: Path) -> dict[str, str]:
    """The environment of the processes: the demo's own settings, and none of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    path = os.pathsep.join(filter(None, [str(orders_folder()), kept.get("PYTHONPATH")]))
    ours = {f"{PREFIX}BROKER_URL": broker_url, f"{PREFIX}NAMESPACE": namespace}
    return {**kept, **ours, "PYTHONPATH": path, "ORDERS_FOLDER": str(folder)}
