"""The demo's account: every accepted call against every run that the service's processes wrote down."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weighbridge.cli.demo.traffic import AcceptedCall, Traffic
from weighbridge.decision import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a task, as the process that ran it wrote it down. ``ended_at_s`` is on the wall clock."""

    task: str
    request_id: str
    pid: int
    ended_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What does not add up, each in words. Nothing: each accepted call ran exactly once, where it should."""

    accepted: int
    refused: tuple[str, ...]
    missing: tuple[str, ...]
    double: tuple[str, ...]
    unexpected: tuple[str, ...]
    misplaced: tuple[str, ...]
    miscounted: str | None

    @property
    def faults(self) -> dict[str, Sequence[str]]:
        """The kinds of fault that there are, with what is at fault."""
        found: dict[str, Sequence[str]] = {
            "not accepted": self.refused,
            "accepted and never run": self.missing,
            "run more than once": self.double,
            "run and never accepted": self.unexpected,
            "run in another lane than the ticket told": self.misplaced,
            "counted wrong in memory": (self.miscounted,) if self.miscounted else (),
        }
        return {kind: items for kind, items in found.items() if items}


class Journal:
    """The file in which the service's processes write their runs, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: list[Run] = []
        self._read_bytes = 0

    def runs(self, *, prefix: str) -> list[Run]:
        """The runs so far for requests of this prefix; a line that is just being written waits for the next look."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read_bytes += len(whole) + len(newline)
            self._runs += map(_run_of, whole.splitlines())
        return [run for run in self._runs if run.request_id.startswith(f"{prefix}-")]


def _run_of(line: bytes) -> Run:
    told = json.loads(line)
    return Run(task=told["task"], request_id=told["request_id"], pid=told["pid"], ended_at_s=told["ended_at_s"])


def settle(traffic: Traffic, runs: Sequence[Run], *, web_pid: int, pieces_counted: int) -> Account:
    """Hold the accepted calls against the runs."""
    accepted = {(call.task, call.request_id): call for call in traffic.calls}
    times = Counter((run.task, run.request_id) for run in runs)
    ordered = traffic.pieces_ordered()
    return Account(
        accepted=len(traffic.calls),
        refused=tuple(traffic.problems),
        missing=tuple(_named(*key) for key in accepted if not times[key]),
        double=tuple(f"{_named(*key)}: {count} times" for key, count in times.items() if count > 1),
        unexpected=tuple(_named(*key) for key in times if key not in accepted),
        misplaced=tuple(
            f"{_named(run.task, run.request_id)}: process {run.pid}"
            for run in runs
            if (call := accepted.get((run.task, run.request_id))) and not _in_lane(run, call, web_pid=web_pid)
        ),
        miscounted=None if pieces_counted == ordered else f"{pieces_counted} pieces instead of {ordered}",
    )


def _named(task: str, request_id: str) -> str:
    return f"{task} of {request_id}"


def _in_lane(run: Run, call: AcceptedCall, *, web_pid: int) -> bool:
    return (run.pid == web_pid) == (call.lane is Lane.IN_PROCESS)
