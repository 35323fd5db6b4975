"""What ``arguments_check`` costs: microseconds of CPU time of an ``add_task`` whose call stays, by mode and share.

``python tests/benchmarks/bench_arguments_check.py [--rounds 41]``: from the root. The tasks could be queued and the
policy keeps their calls here, so the check looks at each, or at its share. In each round every mode has its turn, of
4,000 calls; the medians are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.orders import Line, bill, note

from weighbridge import BackgroundTasks, Dispatcher
from weighbridge.settings import ArgumentsCheck

REQUESTS: Final = 200
CALLS_OF_EACH: Final = 20
ORDER: Final = UUID("6f0e8a2c-5f55-4a6c-9a39-3c1d0f3f6f11")
LINES: Final = [Line(sku=f"sku-{number}", price=Decimal("1.10")) for number in range(10)]
CALLS: Final[dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "an id and a number": (note, (ORDER, 3)),
    "an order with ten lines, each a model": (bill, (ORDER, datetime(2026, 11, 28, tzinfo=UTC), LINES)),
}
MODES: Final = {
    "off": (ArgumentsCheck.OFF, 1.0),
    "warn": (ArgumentsCheck.WARN, 1.0),
    "strict": (ArgumentsCheck.STRICT, 1.0),
    "warn, share 0.01": (ArgumentsCheck.WARN, 0.01),
}


def one_turn(dispatcher: Dispatcher, func: Callable[..., Any], args: tuple[Any, ...]) -> float:
    """Microseconds of CPU time of one ``add_task``, which other processes of the machine hardly change."""
    took_s = 0.0
    for _ in range(REQUESTS):
        tasks = BackgroundTasks(dispatcher=dispatcher)
        before_s = time.thread_time()
        for _ in range(CALLS_OF_EACH):
            tasks.add_task(func, *args)
        took_s += time.thread_time() - before_s
        tasks.discard()
    return took_s / (REQUESTS * CALLS_OF_EACH) * 1e6


async def compare(rounds: int) -> None:
    """Measure each kind of call in each mode, and print it."""
    for name, (func, args) in CALLS.items():
        seen: dict[str, list[float]] = {mode: [] for mode in MODES}
        for _ in range(rounds):
            for mode, (check, share) in MODES.items():
                dispatcher = Dispatcher(policy="all-in-process", arguments_check=check, arguments_check_share=share)
                async with dispatcher:
                    gc.collect()
                    seen[mode].append(one_turn(dispatcher, func, args))
        print(name)
        off_us = statistics.median(seen["off"])
        for mode, turns in seen.items():
            median_us = statistics.median(turns)
            print(f"  {mode:<16} {median_us:7.2f} µs a call, {median_us - off_us:+.2f}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41)
    asyncio.run(compare(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
