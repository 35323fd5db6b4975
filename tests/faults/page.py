"""``docs/reference/faults.md``: what the long form has measured, made from ``measured.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.faults.catalogue import FAULTS
from tests.faults.measured import THROUGHPUT, Measurement, Side, stored
from tests.faults.trial import Fault

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "faults.md"
NOTICE: Final = "<!-- made by `python -m tests.faults --long --write`; measure again, do not edit -->"
INTRODUCTION: Final = """\
# Faults measured

What became of every call while something was broken on purpose: under weighbridge, and under plain Dramatiq with its
stock settings, in the same harness on the same machine. Each side has a real server with an append-only file, a FastAPI
service, two worker processes of eight threads each, and a proxy in between that can refuse, keep silent and eat
replies.

A call is *acknowledged* if its request was answered with 2xx. It is *ok* if it ran to its end, *dead* if it is a dead
letter; *lost* if it is nowhere, *stranded* if it lies at the broker and nobody will ever run it; *duplicated* if it
started more often than its failures ask for; *unexpected* if it ran though its request was told that it would not.
*Broken* are promises of weighbridge's [delivery contract](../concepts/delivery.md), on either side. A fault that breaks
nothing under plain Dramatiq would prove nothing.

The same faults in a short form are tests, and run with each change. In a checkout, on a machine that does nothing else,
`python -m tests.faults --long --write` measures all of them anew and writes this page; `--only NAME` measures one.
"""


def page(measured: Mapping[str, Measurement]) -> str:
    """The page's text."""
    parts = [NOTICE, INTRODUCTION.rstrip(), _table(measured)]
    parts += [_section(fault, measured[fault.name]) for fault in FAULTS if fault.name in measured]
    if THROUGHPUT in measured:
        parts.append(_throughput(measured[THROUGHPUT]))
    return "\n\n".join(parts) + "\n"


def write() -> None:
    """Write the page from what is stored."""
    PAGE.write_text(page(stored()), encoding="utf-8")


def _table(measured: Mapping[str, Measurement]) -> str:
    rows = ["| fault | promise | weighbridge: broken | plain Dramatiq: broken |", "|---|---|---|---|"]
    for fault in FAULTS:
        found = measured.get(fault.name)
        ours = "not measured" if found is None else _broken(found.sides[0])
        stock = "not measured" if found is None or len(found.sides) == 1 else _broken(found.sides[1])
        title = f"[{fault.title}](#{fault.name})" if found else fault.title
        rows.append(f"| {title} | {fault.promise} | {ours} | {stock} |")
    return "\n".join(rows)


def _section(fault: Fault, found: Measurement) -> str:
    title = fault.title[0].upper() + fault.title[1:]
    sides = "\n".join(_account(side) for side in found.sides)
    return f"""## {fault.name}

{title}. Promised: {fault.promise}.

{sides}

{_provenance(found)}"""


def _account(side: Side) -> str:
    counted = ", ".join(f"{name} {count:,}" for name, count in side.counted.items())
    figures = "".join(f"\n    - {name}: {value}" for name, value in side.figures.items())
    return f"- **{side.name}**, {side.took_s:,.0f} s: {counted}. Broken: {_broken(side)}.{figures}"


def _throughput(found: Measurement) -> str:
    sides = "\n".join(
        f"- **{side.name}**: " + "; ".join(f"{name}: {value}" for name, value in side.figures.items())
        for side in found.sides
    )
    return f"""## {THROUGHPUT}

No fault: calls of a task that does nothing, through one worker process with eight threads.

{sides}

{_provenance(found)}"""


def _provenance(found: Measurement) -> str:
    return f"`{found.command}`, {found.day}: {found.machine}; {found.versions}."


def _broken(side: Side) -> str:
    return "; ".join(side.broken) or "nothing"
