"""The one terminal that all processes of a session talk into, line by line."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from enum import StrEnum
from io import TextIOWrapper
from typing import Final

import click


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


class Terminal:
    """Standard output. ``on_gone`` is called when nobody reads it any more, as after ``| head``."""

    def __init__(self, *, on_gone: Callable[[], None]) -> None:
        self.coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._on_gone = on_gone
        self._printing = threading.Lock()
        if isinstance(sys.stdout, TextIOWrapper):
            # The children may write what the terminal's encoding cannot show.
            sys.stdout.reconfigure(errors="replace")

    def say(self, source: Source, text: str, *, bold: bool = False) -> None:
        """Write whole lines, each with its source before it; from any thread."""
        prefix = f"{source:<6} |"
        shown = click.style(prefix, fg=COLOURS[source]) if self.coloured else prefix
        with self._printing:
            try:
                for line in text.splitlines() or [""]:
                    said = click.style(line, bold=True) if bold and self.coloured else line
                    sys.stdout.write(f"{shown} {said}\n")
                sys.stdout.flush()
            except BrokenPipeError:
                self._on_gone()
