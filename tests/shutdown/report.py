"""The report: the account of each stop of both services, printed, and with ``--write`` kept for the page."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.shutdown import measured, page
from tests.shutdown.stops import STOPS, Stop
from tests.shutdown.trial import MEASURED, OURS, STOCK, Result, run

from weighbridge.embedded import EmbeddedServer


def shown(stop: Stop, results: dict[str, Result]) -> str:
    """The accounts of one stop, as text for a terminal."""
    lines = [f"== {stop.name}: {stop.title}"]
    for side, result in results.items():
        counted = ", ".join(f"{name} {count}" for name, count in result.account.figures().items() if count)
        ends = ", ".join(f"{end} {count}" for end, count in sorted(result.ends.items()))
        events = result.events
        lines += [
            f"   {side}: {counted}",
            f"      exit code {result.exit.code} after {result.exit.took_s:.1f} s"
            + (", killed" if result.exit.killed else "")
            + f"; lifespans opened {events.opened}, asked to end {events.ending}, ended {events.ended}",
            f"      requests: open ones cut {result.cut}; after the signal: {ends or 'none'}",
        ]
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for. 1 if an orderly stop lost a call, or another one lost none."""
    parser = argparse.ArgumentParser(prog="python -m tests.shutdown", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", choices=[stop.name for stop in STOPS])
    parser.add_argument("--keep", type=Path, help="a directory for the logs")
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/reference/servers.md")
    options = parser.parse_args()
    held = True
    with ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shutdown-")))
        broker = stack.enter_context(EmbeddedServer.start())
        for stop in STOPS:
            if options.only and stop.name not in options.only:
                continue
            results = {
                module: run(
                    stop, module, broker_url=broker.url, directory=directory / stop.name / module, scale=MEASURED
                )
                for module in (OURS, STOCK)
            }
            print(shown(stop, {"weighbridge": results[OURS], "stock": results[STOCK]}), flush=True)
            if options.write:
                measured.store(stop.name, measured.measurement(stop, ours=results[OURS], stock=results[STOCK]))
                page.write()
            held &= stop.orderly is not bool(results[OURS].problems)
    return 0 if held else 1
