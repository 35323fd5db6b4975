"""Spill-over under a step load: beside all calls in process, and all in the queue.

    python tests/benchmarks/bench_spill_over.py [--rounds 5] [--write]

A real uvicorn, a real worker (one process), a real server. Each lane has four threads, and a run takes some 21 ms, so
each lane alone does about 190 calls a second. The load is open (requests start when they are due): below that, then a
step above what either lane can do and below what both can, then below again. The three policies take turns in the same
processes, with the same moments of arrival; all calls are done when the next begins. Times are from when a request was
due until the end of its call's run, on one clock.

Exits with 1 if the p99 with spill-over is not lower than with either lane alone (medians of the rounds), if with it
more calls have waited in process at any time than the threshold and those that concurrent requests decided at one
moment, or if a call is lost or runs twice.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import figures
from tests.benchmarks.open_load import Client, Phase, p99, percentile
from tests.benchmarks.processes import service, worker

from weighbridge.embedded import EmbeddedServer

THREADS: Final = 4
THRESHOLD: Final = 8
POLICIES: Final = ("all-in-process", "all-queued", "spill-over")
PHASES: Final = (
    Phase(name="before", seconds=3, per_s=100),
    Phase(name="step", seconds=5, per_s=280),
    Phase(name="after", seconds=3, per_s=100),
)
DRAINED_WITHIN_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One policy in one round."""

    took_ms: Mapping[str, Sequence[float]]
    """Of each call, from due to done, by phase."""
    lanes: Mapping[str, int]
    most_waiting: int
    waiting_in_step: Sequence[int]
    most_deciding: int
    """Requests that were between decision and commit at one time."""
    problems: Sequence[str]

    @property
    def all_ms(self) -> list[float]:
        return [took for phase in self.took_ms.values() for took in phase]

    @property
    def near(self) -> int:
        """As many calls may wait: each of those requests may have looked before the others' commit."""
        return THRESHOLD + self.most_deciding


class Journal:
    """The file in which each run notes its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def runs(self) -> list[tuple[int, float, str]]:
        """Of each run: the number of its call, when it ended, its lane."""
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(number), float(at_s), lane) for number, at_s, lane in lines]


async def trial(client: Client, journal: Journal, policy: str, *, seed: int) -> Trial:
    """One policy under the load, until its last call is done."""
    await client.json("POST", f"/policy/{policy}")
    await client.json("GET", "/samples")
    journal.path.write_text("")
    began_s = time.monotonic()
    answers = await client.open_load(PHASES, "POST", "/calls/{}", seed=seed)
    accepted = {answer.number: answer for answer in answers if answer.status == 202}
    give_up_at_s = time.monotonic() + DRAINED_WITHIN_S
    while (  # noqa: ASYNC110  # other processes write the journal
        len(runs := journal.runs()) < len(accepted) and time.monotonic() < give_up_at_s
    ):
        await asyncio.sleep(0.05)
    metered: dict[str, Any] = await client.json("GET", "/samples")

    problems = []
    if len(accepted) < len(answers):
        problems.append(f"{policy}: {len(answers) - len(accepted)} requests refused")
    times = Counter(number for number, _, _ in runs)
    if times.keys() != accepted.keys() or max(times.values()) > 1:
        problems.append(f"{policy}: {len(accepted)} calls accepted, {len(times)} ran, {len(runs) - len(times)} again")
    took_ms: dict[str, list[float]] = {phase.name: [] for phase in PHASES}
    for number, at_s, _ in runs:
        answer = accepted[number]
        took_ms[answer.phase].append((at_s - answer.due_at_s) * 1000)
    before, step, _ = PHASES
    step_began_s = began_s + before.seconds
    return Trial(
        took_ms=took_ms,
        lanes=Counter(lane for _, _, lane in runs),
        most_waiting=metered["waiting"],
        waiting_in_step=[
            waiting for at_s, waiting in metered["samples"] if step_began_s <= at_s < step_began_s + step.seconds
        ],
        most_deciding=metered["deciding"],
        problems=problems,
    )


def shown(policy: str, trials: Sequence[Trial]) -> list[str]:
    """The row of a policy: medians over the rounds, and the greatest maximum."""

    cells = [policy]
    for phase in (*PHASES, None):
        taken = [each.all_ms if phase is None else each.took_ms[phase.name] for each in trials]
        middle = statistics.median(statistics.median(each) for each in taken)
        cells.append(f"{middle:,.0f} / {statistics.median(p99(each) for each in taken):,.0f}")
    cells.append(f"{max(each.most_waiting for each in trials):,}")
    cells.append(f"{statistics.median(percentile(each.waiting_in_step, 95) for each in trials):,.0f}")
    queued = sum(each.lanes.get("queue", 0) for each in trials) / sum(sum(each.lanes.values()) for each in trials)
    cells.append(f"{100 * (1 - queued):.0f} % / {100 * queued:.0f} %")
    return cells


COLUMNS: Final = (
    "policy",
    *(f"{phase.name}, {phase.per_s:.0f}/s: p50 / p99 ms" for phase in PHASES),
    "all: p50 / p99 ms",
    "waiting in process, max",
    "p95 in the step",
    "share in_process / queue",
)


def verdict(trials: Mapping[str, Sequence[Trial]]) -> tuple[list[str], list[str]]:
    """What was found, and what should not have been."""
    p99_of = {policy: statistics.median(p99(each.all_ms) for each in found) for policy, found in trials.items()}
    spilled, *alone = (p99_of[policy] for policy in reversed(POLICIES))
    most = max(each.most_waiting for each in trials["spill-over"])
    near = min(each.near for each in trials["spill-over"] if each.most_waiting == most)
    missed = [problem for found in trials.values() for each in found for problem in each.problems]
    if not spilled < min(alone):
        missed.append(f"p99 with spill-over {spilled:.0f} ms, with one lane {min(alone):.0f} ms")
    missed += [
        f"{each.most_waiting} calls have waited, {each.near} may"
        for each in trials["spill-over"]
        if each.most_waiting > each.near
    ]
    found = [
        f"The p99 of all calls: {spilled:,.0f} ms with spill-over, {min(alone):,.0f} ms with the better lane alone.",
        (
            f"With spill-over at most {most} calls waited in process. The threshold is {THRESHOLD}; with the "
            f"{near - THRESHOLD} requests that were between decision and commit at one time, {near} could have."
        ),
    ]
    return found, missed


async def measure(rounds: int, folder: Path) -> dict[str, list[Trial]]:
    journal = Journal(folder / "journal")
    with EmbeddedServer.start() as server:
        environment = {
            "WEIGHBRIDGE_BROKER_URL": server.url,
            "WEIGHBRIDGE_NAMESPACE": f"spill-over-{uuid.uuid4().hex}",
            "WEIGHBRIDGE_POLICY": "spill-over",
            "WEIGHBRIDGE_IN_PROCESS_THREADS": str(THREADS),
            "SPILL_OVER_JOURNAL": str(journal.path),
        }
        module = "tests.benchmarks.spill_over_app"
        one = ("--processes", "1", "--threads", str(THREADS))
        with (
            service(f"{module}:app", environment=environment, log=folder / "web.log") as web,
            worker(module, *one, environment=environment, log=folder / "worker.log"),
        ):
            async with Client(web.port) as client:
                trials: dict[str, list[Trial]] = {policy: [] for policy in POLICIES}
                for number in range(rounds):
                    for policy in POLICIES[number % 3 :] + POLICIES[: number % 3]:
                        trials[policy].append(await trial(client, journal, policy, seed=number))
                        print(f"round {number + 1}: " + "  ".join(shown(policy, trials[policy][-1:])), flush=True)
    return trials


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/reference/figures.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = asyncio.run(measure(arguments.rounds, Path(folder)))
    found, missed = verdict(trials)
    return figures.report(
        figures.Figures(
            name="spill-over",
            columns=COLUMNS,
            rows=[shown(policy, trials[policy]) for policy in POLICIES],
            found=[*found, f"{arguments.rounds} rounds; medians, of the calls that waited the maximum of all rounds."],
            missed=missed,
        ),
        write=arguments.write,
    )


if __name__ == "__main__":
    sys.exit(main())
