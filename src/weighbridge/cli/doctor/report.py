"""The report of an examination: sections for people, one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from weighbridge.cli.doctor.patient import Patient
from weighbridge.lanes.queue.checkup import Examination, Finding, Severity
from weighbridge.lanes.queue.checkup.finding import count
from weighbridge.lanes.queue.checkup.queues import QueueState
from weighbridge.lanes.queue.register import WorkerRecord

STYLES: Final = {
    Severity.OK: "green",
    Severity.UNKNOWN: "cyan",
    Severity.WARNING: "yellow",
    Severity.ERROR: "bold red",
}
MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0


def print_json(found: Examination, patient: Patient, *, status: int) -> None:
    """One object; of a worker's tasks the names alone."""
    workers = None
    if found.workers is not None:
        workers = [{**asdict(each), "tasks": sorted(each.tasks)} for each in found.workers]
    report: dict[str, Any] = {
        "exit_code": status,
        "broker": found.broker,
        "namespace": found.namespace,
        "reached": found.reached,
        "round_trip": None if found.round_trip is None else asdict(found.round_trip),
        "modules": list(patient.modules),
        "dispatcher": patient.place,
        "findings": [asdict(each) for each in found.findings],
        "workers": workers,
        "queues": [asdict(each) for each in found.queues],
    }
    click.echo(json.dumps(report, indent=2))


def print_text(found: Examination, patient: Patient) -> None:
    """Sections, as wide as the terminal; without colour where there is none."""
    console = Console(highlight=False, emoji=False, markup=False)
    with console.capture() as shown:
        _print(console, found, patient)
    click.echo("\n".join(line.rstrip() for line in shown.get().splitlines()))


def _print(console: Console, found: Examination, patient: Patient) -> None:
    console.print(_head(found))
    console.print(_findings(found.findings))
    for title, section in (("Workers", _workers(found.workers)), ("Queues", _queues(found.queues))):
        if section is not None:
            console.print(Group(Text(f"\n{title}", style="bold"), section))
    if found.reached and not patient.modules and not patient.ready:
        console.print(Text("\nNo module was named, so no task was compared.", style="dim"))
    console.print(Text(f"\n{_summary(found, ready=patient.ready)}", style="bold"))


def _head(found: Examination) -> Text:
    head = Text(found.broker, style="bold")
    if found.namespace is not None:
        head.append(f", namespace {found.namespace}")
    if found.round_trip is not None:
        trip = found.round_trip
        head.append(f"\nround trip {trip.read_ms:.2f} ms, write {trip.write_ms:.2f} ms")
    return head.append("\n")


def _findings(findings: Sequence[Finding]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for each in findings:
        lines = Text.assemble((each.check, "bold"), f": {each.text}")
        if each.breaks:
            verb = "breaks" if each.severity is Severity.ERROR else "could break"
            lines.append(f"\n{verb}: {', '.join(each.breaks)}", style="dim")
        if each.remedy:
            lines.append(f"\ndo: {each.remedy}")
        grid.add_row(Text(each.severity, style=STYLES[each.severity]), lines)
    return grid


def _workers(workers: Sequence[WorkerRecord] | None) -> RenderableType | None:
    if not workers:
        return None
    counts = {"threads", "tasks"}
    table = _table("process", "seen", "queues", "threads", "tasks", "weighbridge", "Python", right=counts)
    for each in workers:
        table.add_row(
            f"{each.host}:{each.pid}",
            f"{each.silent_s:.0f} s ago",
            ", ".join(each.queues),
            str(each.threads),
            str(len(each.tasks)),
            each.versions.get("weighbridge", "?"),
            each.versions.get("python", "?"),
        )
    return table


def _queues(queues: Sequence[QueueState]) -> RenderableType | None:
    if not queues:
        return None
    counts = ("waiting", "oldest", "delayed", "held", "dead")
    table = _table("queue", *counts, right=set(counts))
    for each in queues:
        dead = _number(each.dead) + (f" ({each.dead_soon:,} end within a day)" if each.dead_soon else "")
        oldest = "" if each.oldest_s is None else _duration(each.oldest_s)
        table.add_row(each.name, _number(each.waiting), oldest, _number(each.delayed), _number(each.held), dead)
    return table


def _table(*columns: str, right: set[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _duration(seconds: float) -> str:
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.1f} s"


def _summary(found: Examination, *, ready: bool) -> str:
    if not found.reached:
        return "The broker cannot be reached."
    errors = count(found.findings, Severity.ERROR)
    others = [
        f"{number} {noun}{'' if number == 1 else 's'}"
        for number, noun in (
            (count(found.findings, Severity.WARNING), "warning"),
            (count(found.findings, Severity.UNKNOWN), "check that could not be made"),
        )
        if number
    ]
    others = [each.replace("check that could not be mades", "checks that could not be made") for each in others]
    unchecked = count(found.findings, Severity.UNKNOWN)
    good = "All promises that could be checked hold" if unchecked else "All promises hold"
    good = "The broker takes calls" if ready else good
    said = f"{errors} error{'' if errors == 1 else 's'}" if errors else good
    return f"{', '.join([said, *others])}."
