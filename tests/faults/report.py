"""The report: the account of each fault on both sides, printed, and with ``--write`` kept for the page of figures."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.faults import measured, page
from tests.faults.catalogue import FAULTS
from tests.faults.rig import Rig
from tests.faults.side import Ours, Stock
from tests.faults.trial import Fault, Result, Scale, run

LEASE_S: Final = {Scale.SHORT: 2.0, Scale.LONG: 15.0}


def side_by_side(fault: Fault, rigs: Sequence[Rig], *, scale: Scale, seed: int) -> list[Result]:
    """One fault on each of the rigs: at the same time in the short form, one after the other in the long one."""
    rigs = [rig for rig in rigs if isinstance(rig.side, Ours) or scale in fault.compared]
    workers = len(rigs) if scale is Scale.SHORT else 1
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda rig: run(fault, rig, scale=scale, seed=seed), rigs))


def shown(fault: Fault, results: Sequence[Result]) -> str:
    """The accounts of one fault, as text for a terminal."""
    lines = [f"== {fault.name}: {fault.title}", f"   promise: {fault.promise}"]
    for result in results:
        counted = ", ".join(f"{name} {count}" for name, count in result.account.figures().items() if count)
        figures = "; ".join(f"{name}: {value}" for name, value in result.figures.items())
        broken = "; ".join(result.problems) or "nothing"
        lines.append(f"   {result.side} ({result.took_s:.1f} s)")
        lines.append(f"      {counted}")
        if figures:
            lines.append(f"      {figures}")
        lines.append(f"      broken: {broken}")
    return "\n".join(lines)


@contextmanager
def _rigs(directory: Path, *, scale: Scale, direct: bool = False) -> Iterator[list[Rig]]:
    """Both sides, running; ``direct``: without proxies, and with the server's own default of one fsync a second."""
    fsync = "everysec" if direct else "always"
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Rig(side(), directory / side.module, lease_s=LEASE_S[scale], fsync=fsync, direct=direct)
            )
            for side in (Ours, Stock)
        ]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", metavar="NAME", choices=[fault.name for fault in FAULTS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/reference/faults.md")
    options = parser.parse_args()
    if options.write and not options.long:
        parser.error("--write keeps the figures of the long form: add --long")
    scale = Scale.LONG if options.long else Scale.SHORT
    chosen = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    held = True
    with ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        rigs = stack.enter_context(_rigs(directory, scale=scale))
        for fault in chosen:
            direct = fault.direct and options.long
            with ExitStack() as own:
                used = own.enter_context(_rigs(directory / fault.name, scale=scale, direct=True)) if direct else rigs
                ours, *stock = results = side_by_side(fault, used, scale=scale, seed=options.seed)
            print(shown(fault, results), flush=True)
            if options.write:
                measured.store(fault.name, measured.results_of(rigs, results, name=fault.name, seed=options.seed))
                page.write()
            held &= not ours.problems and all(each.problems for each in stock)
    return 0 if held else 1
