"""No-op calls a second through one worker process with eight threads, beside plain Dramatiq, in alternating rounds.

``python tests/benchmarks/bench_throughput.py [--rounds 7] [--calls 4000] [--write]``, from the root. In each round
both sides get the same number of calls while their worker is stopped (SIGSTOP), and are timed from its awakening to the
last acknowledgement. It exits with 1 if the median ratio is below 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import dramatiq
from tests.faults import page
from tests.faults.measured import THROUGHPUT, Side, measurement, store
from tests.faults.rig import Rig
from tests.faults.side import QUEUE, SIDES

TARGET = 1.0


def calls_per_s(rig: Rig, *, calls: int) -> float:
    """The calls a second of one round."""
    (worker,) = rig.worker.children()
    os.kill(worker, signal.SIGSTOP)
    try:
        for number in range(calls):
            message: dramatiq.Message[Any] = dramatiq.Message(
                queue_name=QUEUE,
                actor_name="faults.nothing",
                args=(),
                kwargs={},
                options={"redis_message_id": f"planted-{number}"},
            )
            rig.side.plant(rig.client, message.encode(), number=number)
    finally:
        start_s = time.perf_counter()
        os.kill(worker, signal.SIGCONT)
    while rig.side.left(rig.client):
        time.sleep(0.005)
    return calls / (time.perf_counter() - start_s)


def _keep(rigs: list[Rig], medians: list[float], *, ratio: float, rounds: int) -> None:
    sides = [
        Side(name=rig.side.name, counted={}, figures={"calls a second": f"{per_s:,.0f}"}, broken=[], took_s=0.0)
        for rig, per_s in zip(rigs, medians, strict=True)
    ]
    sides[0] = replace(sides[0], figures={**sides[0].figures, "ratio": f"{ratio:.2f} (medians of {rounds} rounds)"})
    found = measurement(
        sides, client=rigs[0].client, command=f"python tests/benchmarks/bench_throughput.py --rounds {rounds} --write"
    )
    store(THROUGHPUT, found)
    page.write()


def main() -> int:
    """Measure, print, and say whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/reference/faults.md")
    options = parser.parse_args()
    rounds: list[tuple[float, ...]] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rigs = [
            stack.enter_context(
                Rig(side(), directory / side.module, lease_s=15, fsync="everysec", direct=True, processes=1)
            )
            for side in SIDES
        ]
        for number in range(options.rounds + 1):
            order = rigs if number % 2 else rigs[::-1]
            seen = {rig.side.name: calls_per_s(rig, calls=options.calls) for rig in order}
            ours, stock = (seen[rig.side.name] for rig in rigs)
            print(f"weighbridge {ours:6.0f}/s   plain Dramatiq {stock:6.0f}/s   ratio {ours / stock:.2f}", flush=True)
            rounds.append((ours, stock))
        rounds = rounds[1:]  # the first warms up
        medians = [statistics.median(side) for side in zip(*rounds, strict=True)]
        ratio = statistics.median(ours / stock for ours, stock in rounds)
        if options.write:
            _keep(rigs, medians, ratio=ratio, rounds=len(rounds))
    print(f"medians {medians[0]:.0f}/s and {medians[1]:.0f}/s; ratio: median {ratio:.2f}, target {TARGET}")
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
