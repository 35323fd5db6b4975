"""What the policy protect-latency does for other requests, beside by-weight and each lane alone.

    python tests/benchmarks/bench_protect_latency.py [--rounds 9] [--also ours.toml] [--write]

A real uvicorn, two real worker processes of one thread each, a real server. Health requests, which add nothing, are
sent 100 times a second; beside them requests that each add one call, of a weight that by-weight keeps:

* middle: sync calls of 10, 20, 30 and 40 ms of CPU time, and async ones of 4 ms, in turn, 4, 15, 30 and 45 times a
  second, so that they take 8, 31, 62 and 94 % of one core if all of them stay;
* light: async calls of 4 ms, 50 and 200 times a second: 20 and 80 % of one core, and the requests come on top.

Both loads are open: requests start when they are due, at random moments, and count from then. No call is heavy, so
by-weight and all-in-process decide alike: what is between these two is the machine's noise.

The model: the workers have a machine of their own, since on the service's they would take the CPU time from it that
the policy is to save. So the service has one CPU for itself, as a container of one CPU has (on Linux); and what a
worker computes is time that it sleeps, as long as the run would take. All else that a queued call costs is real: to
encode it, to write it, to wait for the broker's answer, and the worker's own work, which shares the other CPU with the
load generator and the server.

The policies take turns, at each load and in the same processes, with the same moments of arrival; all calls are done
before the next begins. Each round has new processes and other moments. Ratios are of trials of one round and load.

Exits with 1 if the p99 of the health requests with protect-latency is more than 0.75 times that with by-weight where
calls are many (middle 30 and 45, light 200), or more than 1.25 times where they are few (the medians of the rounds'
ratios); if fewer than three of four calls stay in process where they are few; or if a request is refused, a call is
lost, or one runs twice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import figures
from tests.benchmarks.open_load import Client, Phase, p99
from tests.benchmarks.processes import service, worker

from weighbridge.embedded import EmbeddedServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests that each add a call of a kind, so many a second."""

    kind: str
    per_s: int
    few: bool

    def __str__(self) -> str:
        return f"{self.kind}, {self.per_s}/s"


POLICIES: Final = ("by-weight", "all-in-process", "all-queued", "protect-latency")
BASE, SUBJECT = "by-weight", "protect-latency"
LOADS: Final = (
    Load(kind="middle", per_s=4, few=True),
    Load(kind="middle", per_s=15, few=True),
    Load(kind="middle", per_s=30, few=False),
    Load(kind="middle", per_s=45, few=False),
    Load(kind="light", per_s=50, few=True),
    Load(kind="light", per_s=200, few=False),
)
#: At most so many times the p99 with by-weight, where calls are few and where they are many.
TARGET_FEW: Final = 1.25
TARGET_MANY: Final = 0.75
SHARE_THAT_STAYS: Final = 0.75
HEALTH_PER_S: Final = 100
SECONDS: Final = 4
WARM_UP_S: Final = 1
DRAINED_WITHIN_S: Final = 60.0
MODULE: Final = "tests.benchmarks.protect_latency_app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One policy under one load in one round."""

    health_ms: Sequence[float]
    adding_ms: Sequence[float]
    lanes: Mapping[str, int]
    problems: Sequence[str]

    @property
    def p99_ms(self) -> float:
        return p99(self.health_ms)


#: Of each policy and load, one trial a round.
Trials = Mapping[tuple[str, Load], list[Trial]]


def empty(journal: Path) -> None:
    journal.write_text("")


def runs_in(journal: Path) -> list[tuple[int, str]]:
    """Of each run: the number of its call, and its lane."""
    lines = [line.split() for line in journal.read_text().splitlines()]
    return [(int(number), lane) for number, lane in lines]


async def trial(
    client: Client, journal: Path, policy: str, load: Load, *, seed: int, seconds: float = SECONDS
) -> Trial:
    """One policy under the load, until its last call is done."""
    await client.request("POST", f"/policy/{policy}")
    empty(journal)
    health = [Phase(name="health", seconds=seconds, per_s=HEALTH_PER_S)]
    adding = [Phase(name="adding", seconds=seconds, per_s=load.per_s)]
    asked, added = await asyncio.gather(
        client.open_load(health, "GET", "/health", seed=2 * seed),
        client.open_load(adding, "POST", f"/{load.kind}/{{}}", seed=2 * seed + 1),
    )
    accepted = {answer.number for answer in added if answer.status == 202}
    give_up_at_s = time.monotonic() + DRAINED_WITHIN_S
    while (  # noqa: ASYNC110  # other processes write the journal
        len(runs := runs_in(journal)) < len(accepted) and time.monotonic() < give_up_at_s
    ):
        await asyncio.sleep(0.05)
    problems = []
    if refused := sum(answer.status >= 300 for answer in [*asked, *added]):
        problems.append(f"{policy}, {load}: {refused} requests refused")
    times = Counter(number for number, _ in runs)
    if times.keys() != accepted or len(times) < len(runs):
        problems.append(
            f"{policy}, {load}: {len(accepted)} calls accepted, {len(times)} ran, {len(runs) - len(times)} again"
        )
    return Trial(
        health_ms=[answer.took_ms for answer in asked],
        adding_ms=[answer.took_ms for answer in added],
        lanes=Counter(lane for _, lane in runs),
        problems=problems,
    )


def ratios(trials: Trials, policy: str, load: Load) -> tuple[float, float, float]:
    """The p99 of the health requests, as so many times that with by-weight: the quartiles over the rounds."""
    each = [mine.p99_ms / base.p99_ms for mine, base in zip(trials[policy, load], trials[BASE, load], strict=True)]
    low, middle, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    return low, middle, high


def share_that_stays(found: Sequence[Trial]) -> float:
    stayed = sum(each.lanes.get("in_process", 0) for each in found)
    return stayed / sum(sum(each.lanes.values()) for each in found)


COLUMNS: Final = (
    "calls",
    "policy",
    "health requests: p50 / p99 ms",
    "p99, times that with by-weight (quartiles)",
    "adding requests: p50 / p99 ms",
    "share in_process / queue",
)


def row(trials: Trials, policy: str, load: Load) -> list[str]:
    """Medians of the rounds."""
    found = trials[policy, load]
    low, middle, high = ratios(trials, policy, load)
    stays = share_that_stays(found)
    return [
        str(load),
        policy,
        shown([each.health_ms for each in found]),
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        shown([each.adding_ms for each in found]),
        f"{100 * stays:.0f} % / {100 * (1 - stays):.0f} %",
    ]


def shown(taken: Sequence[Sequence[float]]) -> str:
    """The medians of the rounds' p50 and p99."""
    return f"{statistics.median(map(statistics.median, taken)):.1f} / {statistics.median(map(p99, taken)):,.0f}"


def missed(trials: Trials) -> list[str]:
    """What should not have been."""
    problems = [problem for found in trials.values() for each in found for problem in each.problems]
    for load in LOADS:
        _, ratio, _ = ratios(trials, SUBJECT, load)
        target = TARGET_FEW if load.few else TARGET_MANY
        if ratio > target:
            problems.append(f"{load}: the p99 is {ratio:.2f} times that with by-weight, and may be {target}")
        stays = share_that_stays(trials[SUBJECT, load])
        if load.few and stays < SHARE_THAT_STAYS:
            problems.append(f"{load}: only {100 * stays:.0f} % of the calls stay")
    return problems


async def one_round(
    trials: Trials, policies: Sequence[str], number: int, folder: Path, cpus: Mapping[str, str]
) -> None:
    rng = random.Random(number)
    journal = folder / "journal"
    journal.touch()
    with EmbeddedServer.start() as server:
        environment = {
            "WEIGHBRIDGE_BROKER_URL": server.url,
            "WEIGHBRIDGE_NAMESPACE": f"protect-latency-{uuid.uuid4().hex}",
            "WEIGHBRIDGE_POLICY": BASE,
            "PROTECT_LATENCY_JOURNAL": str(journal),
        }
        with (
            service(f"{MODULE}:app", environment={**environment, **cpus}, log=folder / f"web-{number}.log") as web,
            worker(
                MODULE,
                "--processes",
                "2",
                "--threads",
                "1",
                environment=environment,
                log=folder / f"worker-{number}.log",
            ),
        ):
            async with Client(web.port) as client:
                for policy in policies:
                    await trial(client, journal, policy, LOADS[0], seed=0, seconds=WARM_UP_S)
                assert await client.json("GET", "/broker"), "the broker is not known to be there"
                for load in LOADS:
                    # Shuffled, so that none always follows the same one.
                    for policy in rng.sample(policies, len(policies)):
                        found = await trial(client, journal, policy, load, seed=1 + number)
                        trials[policy, load].append(found)
                        print(
                            f"round {number + 1}, {load}, {policy}: p50 {statistics.median(found.health_ms):.1f}, "
                            f"p99 {found.p99_ms:.0f} ms, {dict(found.lanes)}",
                            flush=True,
                        )


async def measure(rounds: int, policies: Sequence[str], folder: Path) -> Trials:
    cpus = {}
    if hasattr(os, "sched_setaffinity") and len(mine := sorted(os.sched_getaffinity(0))) > 1:
        cpus = {"PROTECT_LATENCY_CPUS": str(mine[0])}
        # All but the service is a child of this process, and inherits that.
        os.sched_setaffinity(0, mine[1:])
    trials: Trials = {(policy, load): [] for load in LOADS for policy in policies}
    for number in range(rounds):
        await one_round(trials, policies, number, folder, cpus)
    return trials


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--also", action="append", default=[], type=Path, metavar="FILE", help="a policy of your own beside"
    )
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/reference/figures.md")
    arguments = parser.parse_args()
    policies = (*POLICIES, *(str(path.resolve()) for path in arguments.also))
    with tempfile.TemporaryDirectory() as folder:
        trials = asyncio.run(measure(arguments.rounds, policies, Path(folder)))
    return figures.report(
        figures.Figures(
            name="protect-latency",
            columns=COLUMNS,
            rows=[row(trials, policy, load) for load in LOADS for policy in policies],
            found=[f"{arguments.rounds} rounds: medians, and of the ratios the quartiles too."],
            missed=missed(trials),
        ),
        write=arguments.write,
    )


if __name__ == "__main__":
    sys.exit(main())
