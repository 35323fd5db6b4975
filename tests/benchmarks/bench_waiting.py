"""What waiting calls do to other requests: weighbridge, and stock ``BackgroundTasks`` beside it.

    python tests/benchmarks/bench_waiting.py [--rounds 30] [--write]

Two uvicorn processes of each side are asked for a sync endpoint 100 times a second for four seconds, both at the same
moments: in one of them at least 200 sync calls of 1 s wait, in the other none. In the next round they change places. So
whatever else the machine does meets both. Exits with 1 if weighbridge's p99 with waiting calls is more than 1.2 times
that without (the median of the rounds' ratios), if it holds a request-scoped session open while 500 calls wait, or if
uvicorn with ``--limit-concurrency 20`` refuses one of 100 requests that each add such a call.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import figures
from tests.benchmarks.open_load import Client, Phase, p99
from tests.benchmarks.processes import Service, service

TARGET: Final = 1.2
WAITING: Final = 200
#: Those that start in the four seconds, and some more.
STARTING: Final = 60
LOAD: Final = (Phase(name="sync", seconds=4, per_s=100),)
WITH_SESSION: Final = 500
LIMIT: Final = 20
OVER_LIMIT: Final = 100
CONNECTIONS: Final = 4
#: Of stock's rounds one takes ten seconds, and leaves no doubt.
STOCK_ROUNDS: Final = 3
SIDES: Final[Mapping[str, str]] = {"weighbridge": "ours", "stock BackgroundTasks": "stock"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One side: of each round the p99 without and with waiting calls, in milliseconds; sessions and refusals."""

    alone_ms: Sequence[float]
    beside_ms: Sequence[float]
    fewest_waiting: int
    sessions: int
    refused: int

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: from round to round the machine changes, within one it does so for both."""
        return statistics.median(beside / alone for beside, alone in zip(self.beside_ms, self.alone_ms, strict=True))

    def row(self, name: str) -> list[str]:
        alone, beside = statistics.median(self.alone_ms), statistics.median(self.beside_ms)
        return [
            name,
            f"{alone:.1f} ms",
            f"{beside:,.1f} ms",
            f"{self.ratio:,.2f}",
            f"{self.sessions} of {WITH_SESSION}",
            f"{self.refused} of {OVER_LIMIT}",
        ]


async def drain(client: Client) -> None:
    """Let every call end at once."""
    await client.json("POST", "/wake-up")
    while await waiting(client):  # noqa: ASYNC110  # another process counts
        await asyncio.sleep(0.05)
    await client.json("POST", "/nap-again")


async def asked(client: Client, *, seed: int) -> float:
    """The p99 of the sync endpoint, in milliseconds."""
    answers = await client.open_load(LOAD, "GET", "/sync", seed=seed)
    assert {answer.status for answer in answers} == {200}, "a request was not answered"
    return p99([answer.took_ms for answer in answers])


async def add(client: Client, path: str, calls: int) -> list[int]:
    """Add so many calls, by a request each; the statuses of the answers."""
    return await client.statuses("POST", (path.format(call) for call in range(calls)), connections=CONNECTIONS)


async def waiting(client: Client) -> int:
    count: int = (await client.json("GET", "/counts"))["waiting"]
    return count


async def measure(side: str, rounds: int, folder: Path) -> Found:
    app = f"tests.benchmarks.waiting_app:{SIDES[side]}"
    environment = {"WEIGHBRIDGE_DRAIN_TIMEOUT_S": "0.1"} if side == "weighbridge" else {}

    def serving(name: str, *options: str) -> AbstractContextManager[Service]:
        return service(app, *options, environment=environment, log=folder / f"{SIDES[side]}-{name}.log")

    alone_ms, beside_ms, fewest_waiting = [], [], WITH_SESSION
    with serving("one") as one, serving("other") as other:
        async with Client(one.port) as first, Client(other.port) as second:
            await asyncio.gather(asked(first, seed=0), asked(second, seed=0))
            for number in range(rounds):
                busy, idle = (first, second) if number % 2 else (second, first)
                await add(busy, "/calls/{}", WAITING + STARTING)
                beside, alone = await asyncio.gather(asked(busy, seed=number), asked(idle, seed=number))
                beside_ms.append(beside)
                alone_ms.append(alone)
                fewest_waiting = min(fewest_waiting, await waiting(busy))
                await drain(busy)
                print(f"{side}: {alone:.1f} ms without, {beside:,.1f} ms with waiting calls", flush=True)
            await add(first, "/with-session/{}", WITH_SESSION)
            sessions = (await first.json("GET", "/counts"))["sessions"]
            await drain(first)
    with serving("limited", "--limit-concurrency", str(LIMIT)) as limited:
        async with Client(limited.port) as client:
            refused = (await add(client, "/calls/{}", OVER_LIMIT)).count(503)
    return Found(
        alone_ms=alone_ms, beside_ms=beside_ms, fewest_waiting=fewest_waiting, sessions=sessions, refused=refused
    )


def missed(ours: Found) -> list[str]:
    """Where weighbridge misses its targets."""
    problems = []
    if ours.ratio > TARGET:
        problems.append(f"the p99 is {ours.ratio:.2f} times what it is without waiting calls, and may be {TARGET}")
    if ours.fewest_waiting < WAITING:
        problems.append(f"only {ours.fewest_waiting} calls waited at the end of a round")
    if ours.sessions:
        problems.append(f"{ours.sessions} sessions are open")
    if ours.refused:
        problems.append(f"{ours.refused} requests were refused")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/reference/figures.md")
    arguments = parser.parse_args()
    rounds = {"weighbridge": arguments.rounds, "stock BackgroundTasks": min(STOCK_ROUNDS, arguments.rounds)}
    with tempfile.TemporaryDirectory() as folder:
        found = {side: asyncio.run(measure(side, rounds[side], Path(folder))) for side in SIDES}
    counted = ", ".join(f"{count} rounds ({side})" for side, count in rounds.items())
    return figures.report(
        figures.Figures(
            name="waiting",
            columns=(
                "side",
                "p99 without waiting calls",
                f"with {WAITING} and more",
                "ratio",
                f"sessions open while {WITH_SESSION} calls wait",
                f"refused with --limit-concurrency {LIMIT}",
            ),
            rows=[each.row(side) for side, each in found.items()],
            found=[f"Medians of {counted}; the ratio is the median of the rounds' ratios."],
            missed=missed(found["weighbridge"]),
        ),
        write=arguments.write,
    )


if __name__ == "__main__":
    sys.exit(main())
