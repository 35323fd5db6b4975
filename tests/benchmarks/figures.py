"""What benchmarks have measured: kept in ``measured.json`` and told in ``docs/reference/figures.md``."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.faults.measured import machine

FILE: Final = Path(__file__).with_name("measured.json")
PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "figures.md"
NOTICE: Final = "<!-- made by the programs in tests/benchmarks with --write; measure again, do not edit -->"
#: Pages that show a part of a table: of each program the page, the columns, and the rows that are left out.
EXCERPTS: Final[Mapping[str, tuple[Path, Sequence[int], frozenset[str]]]] = {
    "protect-latency": (
        PAGE.parents[1] / "how-to" / "policy-protect-latency.md",
        (0, 1, 2, 3, 5),
        frozenset({"all-in-process"}),
    ),
}
INTRODUCTION: Final = """\
# Figures measured

What the in-process lane costs and holds, under real uvicorn processes and real requests over connections. Where stock
FastAPI stands beside it, the same routes run on its own `BackgroundTasks` in the same run. Each program is in
`tests/benchmarks/` of a checkout, says what it does with `--help`, and ends with exit code 1 if a target is missed.
With `--write` it renews its section here. The queue lane's figures are in [Faults measured](faults.md).
"""
PACKAGES: Final = ("weighbridge", "fastapi", "starlette", "uvicorn")
#: The order of the page: of each program its title, and what it measures.
SECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "spill-over": (
        "Spill-over",
        """\
The shipped policy `spill-over` under a step load, beside all calls in process and all in the queue. Each lane has four
threads, and a run takes some 21 ms (20 of waiting, 0.5 of CPU time), so each lane alone does about 190 calls a second.
The load is open, with arrivals at random moments: below that, then a step above what either lane can do and below what
both can, then below again. Times are from the moment when a request was due until the end of its call's run. The
target: a p99 lower than with either lane alone, and no more calls waiting in process than the threshold and those that
concurrent requests decided at one moment. [How to use it](../how-to/spill-over.md).""",
    ),
    "protect-latency": (
        "Protect latency",
        """\
What the shipped policy `protect-latency` does for requests that add no call, beside `by-weight` and each lane alone.
Such health requests come 100 times a second; beside them come requests that each add one call of a weight that
`by-weight` keeps: middle (sync calls of 10, 20, 30 and 40 ms of CPU time and async ones of 4 ms, in turn) or light
(async calls of 4 ms). The load is open, with arrivals at random moments. The service has one CPU for itself; the
workers are modelled as having a machine of their own, so what a run computes there is time that it sleeps.
`all-in-process` decides here as `by-weight` does: what is between these two is noise. The target: a p99 of the health
requests of at most 0.75 times that with `by-weight` where calls are many (middle 30 and 45, light 200 a second), and at
most 1.25 times where they are few, with three of four calls still in process.
[How to use it](../how-to/policy-protect-latency.md).""",
    ),
    "waiting": (
        "Other requests while calls wait",
        """\
What waiting calls do to requests that have nothing to do with them. Two processes are asked for a sync endpoint at the
same moments; in one of them at least 200 sync calls of 1 s each wait. The target: its p99 is at most 1.2 times that of
the other. Beside that, how many request-scoped database sessions are open while 500 calls wait, and how many of 100
requests that each add a call of 1 s are refused by uvicorn's `--limit-concurrency 20`. The target of both is none.""",
    ),
    "memory": (
        "Memory of a waiting call",
        """\
What waiting calls take that as many real requests have added. `tracemalloc` counts what Python's allocators have given
out; the resident memory is what the system counts, in another process. The target: at most 4,000 bytes a call, by
either.""",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one program found: a table, sentences, and what missed a target."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    found: Sequence[str]
    missed: Sequence[str]
    provenance: str = field(default="")


def report(figures: Figures, *, write: bool) -> int:
    """Print what was found, keep it if asked to, and give the exit code."""
    print(_table(figures, width=True))
    for sentence in figures.found:
        print(sentence)
    for sentence in figures.missed:
        print(f"MISSED: {sentence}")
    if write:
        kept = {**stored(), figures.name: _proven(figures)}
        content = {name: asdict(each) for name, each in sorted(kept.items())}
        FILE.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(page(kept), encoding="utf-8")
        if figures.name in EXCERPTS:
            other_page, *_ = EXCERPTS[figures.name]
            other_page.write_text(with_excerpt(other_page.read_text(encoding="utf-8"), figures), encoding="utf-8")
    return 1 if figures.missed else 0


def stored() -> dict[str, Figures]:
    """What was kept, by the name of the program."""
    if not FILE.exists():
        return {}
    return {name: Figures(**each) for name, each in json.loads(FILE.read_text(encoding="utf-8")).items()}


def page(measured: Mapping[str, Figures]) -> str:
    """The page's text."""
    parts = [NOTICE, INTRODUCTION.rstrip()]
    parts += [_section(name, measured[name]) for name in SECTIONS if name in measured]
    return "\n\n".join(parts) + "\n"


def with_excerpt(text: str, figures: Figures) -> str:
    """A page written by hand, with the part of the table that belongs there, between two remarks.

    :raises ValueError: if it has no place for it.
    """
    _, columns, left_out = EXCERPTS[figures.name]
    before, begin, rest = text.partition(f"<!-- measured: {figures.name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not end:
        raise ValueError(f"the page has no place for the figures of {figures.name}")
    rows = [[row[at] for at in columns] for row in figures.rows if not left_out & {*row}]
    part = replace(figures, columns=[figures.columns[at] for at in columns], rows=rows)
    return "".join([before, begin, f"\n{_table(part)}\n\n", end, after])


def _section(name: str, figures: Figures) -> str:
    title, text = SECTIONS[name]
    sentences = "\n".join([*figures.found, *(f"**Missed**: {each}." for each in figures.missed)])
    return f"## {title}\n\n{text}\n\n{_table(figures)}\n\n{sentences}\n\n{figures.provenance}"


def _table(figures: Figures, *, width: bool = False) -> str:
    """A table in Markdown; with ``width`` its columns stand below each other."""
    rows = [figures.columns, ["---"] * len(figures.columns), *figures.rows]
    widths = [max(len(row[at]) if width else 0 for row in rows) for at in range(len(figures.columns))]
    return "\n".join("| " + " | ".join(f"{cell:<{widths[at]}}" for at, cell in enumerate(row)) + " |" for row in rows)


def _proven(figures: Figures) -> Figures:
    """With where, when and with what it was measured."""
    versions = ", ".join(
        [
            f"Python {platform.python_version()}",
            *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
        ]
    )
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    command = " ".join(["python", f"tests/benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    # Of the last fifteen minutes: a program takes some of them, and what else the machine did shows in the p99s.
    load = f"load average {os.getloadavg()[2]:.1f}"
    return Figures(**{**asdict(figures), "provenance": f"`{command}`, {day}: {machine()}, {load}; {versions}."})
