"""The record of runs: one file that every process appends to, and that no fault of a suite reaches.

A line is written by one ``write`` to a descriptor opened for appending, so lines of several processes never mix, and a
process that is killed leaves whole lines.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Mark(StrEnum):
    """What a line says of a run, or of what came before it."""

    ADDED = "added"
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"


class Place(StrEnum):
    """Where a run took place."""

    WORKER = "worker"
    WEB = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: a call, what happened to it, in which process of which place, at which time (monotonic seconds)."""

    call: str
    mark: Mark
    pid: int
    place: Place
    at_s: float


class Record:
    """A record in one directory. Every process has its own object over the same files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "runs"
        self._descriptor: int | None = None

    def note(self, call: str, mark: Mark, place: Place) -> None:
        """Append one line."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        line = f"{call} {mark} {os.getpid()} {place} {time.monotonic():.6f}\n"
        os.write(self._descriptor, line.encode())

    def first(self, call: str) -> bool:
        """Whether this is asked for the first time of this call, by any process."""
        try:
            (self._directory / f"first-{call}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def lines(self) -> list[Line]:
        """All lines so far."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        return [_line(each) for each in text.splitlines()]


def _line(text: str) -> Line:
    call, mark, pid, place, at_s = text.split(" ")
    return Line(call=call, mark=Mark(mark), pid=int(pid), place=Place(place), at_s=float(at_s))
