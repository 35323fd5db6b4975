"""``docs/reference/servers.md``: what was measured, made from ``measured.json`` alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.shutdown.load import End
from tests.shutdown.measured import Measurement, Side, stored
from tests.shutdown.stops import STOPS
from tests.shutdown.trial import MEASURED, SLOTS

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "servers.md"
NOTICE: Final = "<!-- made by `python -m tests.shutdown --write`; measure again, do not edit -->"
INTRODUCTION: Final = (
    """\
What becomes of accepted in-process calls when a server is stopped, from runs of real servers: under weighbridge, and
with the same tasks under stock `BackgroundTasks`. What follows from it for your deployment is in
[The web server's options](../how-to/deploy.md#the-web-servers-options).""",
    f"""\
Each run starts the server, and loads it until {MEASURED.waiting} calls wait in each of its processes; further requests
come in all the time. A third of the calls can be queued and is sync, a third can be queued and is async, a third is
declared `shares_memory=True` and sync; a third is added one a request, the rest in chains of one of each. Each takes
{MEASURED.run_ms / 1000:.0f} s. weighbridge has {SLOTS} threads, {SLOTS} slots for async calls, and
`drain_timeout_s={MEASURED.drain_timeout_s:.0f}`; stock has Starlette's 40 threads, and runs any number of async calls
at once. Then the signal goes to the first process, as a service manager sends it, and SIGKILL to what still runs
{MEASURED.patience_s:.0f} s after the last signal, as `docker stop` does at its default. Last, a real
`weighbridge worker` runs until the queue is empty.""",
    """\
A call is *accepted* if its client has its id with a 2xx response. Then it is *finished here*, in the web process; or
*run by a worker*, handed over at shutdown under the same id; or *reported*: it did not finish, and
[the log](log-events.md) names its id; or *lost*: nothing of it is left. A call that shares memory and does not finish
within `drain_timeout_s` can only be reported. Stock hands nothing over and reports nothing.""",
)
OUTRO: Final = (
    """\
*Refused*, on the connection, is what a load balancer needs: it tries another process.
*Waited and cut*: the first process of the server
keeps the listening socket open and nobody accepts, so a new connection waits until the server has ended and is reset
then; single ones are those that the signal met between two steps. Take such a server out of the load balancer before
it is stopped ([preStop](../how-to/deploy.md#kubernetes)).""",
    """\
In a checkout, `python -m tests.shutdown --write` measures all of it anew and writes this page, in some fifteen minutes;
`--only NAME` measures one. Tests of each server, with fewer calls, run with each change.""",
)
LATE: Final = """\
A sync call that still runs when the drain is over is reported, and its thread runs on. {late} of such calls, in {runs}
of these runs, finished after all, since the process waited for their threads. uvicorn waits for none after SIGTERM, nor
does gunicorn with uvicorn's worker class: the last act of the process is to send itself the signal anew."""
FIRST: Final = "server, and how it is stopped"
CALLS: Final = (
    FIRST,
    "lost",
    "stock: lost",
    "accepted",
    "finished here",
    "run by a worker",
    "reported",
    "run twice",
    "lifespan ended",
    "exit code",
)
REQUESTS: Final = (FIRST, "open ones that were cut", "new ones after the signal", "it took", "what to set")


def page(measured: Mapping[str, Measurement]) -> str:
    """The page's text."""
    parts = [
        NOTICE,
        "# Servers at shutdown",
        *map(_wrapped, INTRODUCTION),
        "## Calls",
        _calls(measured),
        _late(measured),
    ]
    parts += ["## Requests, and what to set", _requests(measured), *map(_wrapped, OUTRO), _provenance(measured)]
    return "\n\n".join(parts) + "\n"


def write() -> None:
    """Write the page from what is stored."""
    PAGE.write_text(page(stored()), encoding="utf-8")


def _calls(measured: Mapping[str, Measurement]) -> str:
    rows = [_head(CALLS), _line(CALLS)]
    for stop in STOPS:
        found = measured.get(stop.name)
        if found is None:
            rows.append(_head([stop.title, *["not measured"] * (len(CALLS) - 1)]))
            continue
        ours = found.ours
        cells = [_bold(ours.calls["lost"]), f"{found.stock.calls['lost']:,} of {found.stock.calls['accepted']:,}"]
        cells += [f"{ours.calls[name]:,}" for name in ("accepted", "finished", "by_worker", "reported")]
        cells += [_bold(ours.calls["duplicated"]), _lifespans(ours), _code(ours)]
        rows.append(_head([stop.title, *cells]))
    return "\n".join(rows)


def _late(measured: Mapping[str, Measurement]) -> str:
    found = {stop.name: measured[stop.name].ours.calls["late"] for stop in STOPS if stop.name in measured}
    return _wrapped(LATE.format(late=sum(found.values()), runs=sum(map(bool, found.values()))))


def _requests(measured: Mapping[str, Measurement]) -> str:
    rows = [_head(REQUESTS), _line(REQUESTS)]
    for stop in STOPS:
        found = measured.get(stop.name)
        if found is None:
            rows.append(_head([stop.title, *["not measured"] * (len(REQUESTS) - 2), stop.advice]))
            continue
        ours = found.ours
        rows.append(_head([stop.title, f"{ours.cut:,}", _new(ours), f"{ours.took_s:.1f} s", stop.advice]))
    return "\n".join(rows)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _head(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(cells: Sequence[str]) -> str:
    return "|---" * len(cells) + "|"


def _new(side: Side) -> str:
    words = {End.ANSWERED: "accepted", End.DECLINED: "declined", End.REFUSED: "refused", End.CUT: "waited and cut"}
    return ", ".join(f"{word} {side.requests[end]:,}" for end, word in words.items() if side.requests[end]) or "none"


def _lifespans(side: Side) -> str:
    opened, ending, ended = side.lifespans
    if ended == opened:
        return "yes" if opened == 1 else f"yes, in {opened} of {opened}"
    return f"**no**: begun in {ending} of {opened}, ended in {ended}"


def _code(side: Side) -> str:
    return f"{side.code}, killed" if side.killed else str(side.code)


def _bold(count: int) -> str:
    return f"**{count:,}**" if count else "0"


def _provenance(measured: Mapping[str, Measurement]) -> str:
    by_origin: dict[str, list[str]] = {}
    for stop in STOPS:
        if (found := measured.get(stop.name)) is not None:
            by_origin.setdefault(f"{found.day}: {found.machine}; {found.versions}", []).append(f"`{stop.name}`")
    return "\n".join(f"- {', '.join(names)}: {origin}." for origin, names in by_origin.items())
