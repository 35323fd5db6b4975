"""Workers that are killed, and worker commands that are told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import defaultdict
from itertools import pairwise
from typing import Final

from tests.faults.record import Line, Mark
from tests.faults.rig import PROCESSES, THREADS, wait_until
from tests.faults.trial import Fault, Trial

REDELIVERY_S: Final = 20.0


def kill_workers(trial: Trial) -> None:
    """Kill one worker process after the other while calls come in."""
    calls, per_s, every_s = trial.pick(short=(800, 160.0, 1.0), long=(10_000, 250.0, 2.0))
    killed: dict[int, float] = {}
    load = trial.load(trial.plain(calls, ms=20), per_s=per_s)
    while load.running:
        time.sleep(every_s)
        pid = trial.rig.worker.kill_child(trial.rng)
        if pid is not None:
            killed[pid] = time.monotonic()
    settled_s = trial.settle()
    account = trial.account()
    again_s, unexplained = _redelivery(trial.lines(), killed)
    trial.figures["kills"] = str(len(killed))
    trial.figures["longest redelivery"] = f"{again_s:.1f} s"
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(not account.dead, f"{len(account.dead)} dead")
    trial.expect(not unexplained, f"{unexplained} runs repeated though their worker was not killed")
    trial.expect(again_s <= REDELIVERY_S, f"a redelivery took {again_s:.1f} s")
    trial.expect(len(account.duplicated) <= THREADS * len(killed), f"{len(account.duplicated)} duplicated")


def _redelivery(lines: list[Line], killed: dict[int, float]) -> tuple[float, int]:
    """The longest time from a kill to the next start of a call that it cut off; repeated runs that no kill explains."""
    starts: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.mark is Mark.STARTED:
            starts[line.call].append(line)
    longest_s, unexplained = 0.0, 0
    for runs in starts.values():
        runs.sort(key=lambda line: line.at_s)
        for before, after in pairwise(runs):
            if before.pid in killed:
                longest_s = max(longest_s, after.at_s - killed[before.pid])
            else:
                unexplained += 1
    return longest_s, unexplained


#: Seconds between two signals of one wish to stop.
AGAIN_S: Final = 0.2


def _wait_until_busy(trial: Trial, before: int) -> None:
    wait_until(lambda: trial.started() >= before + PROCESSES * THREADS, what="a busy worker")


def stop_workers(trial: Trial) -> None:
    """SIGTERM to a busy worker process, to the supervisor, and to the whole group; a new command goes on each time.

    The group gets it twice, as from a terminal or a service manager that signals all processes and then each.
    """
    ms = trial.pick(short=300, long=2_000)
    codes = []
    for target in ("process", "supervisor", "group"):
        worker = trial.rig.worker
        before = trial.started()
        load = trial.load(trial.plain(3 * PROCESSES * THREADS, ms=ms))
        load.join()
        _wait_until_busy(trial, before)
        if target == "process":
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.children()[0], signal.SIGTERM)
            continue
        worker.signal(signal.SIGTERM, group=target == "group")
        if target == "group":
            time.sleep(AGAIN_S)
            worker.signal(signal.SIGTERM, group=True)
        codes.append(worker.wait())
        worker.stop()
        trial.rig.worker = trial.rig.start_worker()
    settled_s = trial.settle()
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    account = trial.account()
    trial.figures["exit codes"] = ", ".join(map(str, codes))
    trial.expect(codes == [0, 0], f"exit codes {codes}")
    trial.expect(not account.dead, f"{len(account.dead)} dead")
    trial.expect(not account.duplicated, f"{len(account.duplicated)} duplicated")


FAULTS: Final = (
    Fault(
        name="worker-kills",
        title="worker processes are killed (SIGKILL) one after the other",
        promise="0 lost, 0 dead; only runs in flight at a kill are repeated, within 20 s",
        act=kill_workers,
    ),
    Fault(
        name="sigterm",
        title="SIGTERM to a busy worker process, to the supervisor, twice to the process group",
        promise="running calls finish or are given back; exit code 0",
        act=stop_workers,
    ),
)
