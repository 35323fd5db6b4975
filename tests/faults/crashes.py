"""Tasks that harm the process they run in, and processes whose clock is wrong."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.faults.record import Mark
from tests.faults.rig import PROCESSES, THREADS
from tests.faults.trial import Fault, Scale, Trial
from tests.faults.work import Kind

#: Runs that a call which ends its process may have: two with others beside it, one alone.
MOST_RUNS: Final = 3
CLOCK_S: Final = 600.0
#: Plain Dramatiq's lease is its heartbeat, which its settings put at 60 s.
STOCK_LEASE_S: Final = 60.0


def end_processes(trial: Trial) -> None:
    """Calls that exit, crash or are killed, between innocent ones; then see whether every thread works again."""
    before = trial.rig.side.reasons(trial.rig.client)
    innocent = list(trial.plain(trial.pick(short=60, long=600), ms=20))
    kinds = (Kind.EXITS, Kind.CRASHES, Kind.KILLED) * trial.pick(short=1, long=3)
    deadly = [request for kind in kinds for request in trial.plain(1, kind=kind, ms=100)]
    # Close together, so that one death finds others at work, and the tests need not wait for too many new processes.
    at = trial.rng.randrange(len(innocent) // 2)
    requests = [*innocent[:at], *deadly, *innocent[at:]]
    guilty = {request.call: request.kind for request in deadly}
    trial.load(requests, per_s=60.0)
    settled_s = trial.settle()
    runs = Counter(line.call for line in trial.lines() if line.mark is Mark.STARTED)
    account = trial.account()
    dead = trial.holdings().dead
    reasons = trial.rig.side.reasons(trial.rig.client) - before
    trial.rig.wait_for_worker(trial.rig.worker)
    beside = trial.most_at_once()
    trial.figures["runs"] = ", ".join(f"{kind} {runs[call]}" for call, kind in guilty.items())
    trial.figures["dead letters"] = ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"
    trial.figures["most runs of an innocent call"] = str(max(runs[request.call] for request in innocent))
    trial.figures["calls at one time afterwards"] = f"{beside} of {PROCESSES * THREADS}"
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    for call, kind in guilty.items():
        trial.expect(1 <= runs[call] <= MOST_RUNS, f"a call that {kind} ran {runs[call]} times")
        trial.expect(dead.get(call) == "crashed", f"a call that {kind} ended as {dead.get(call)}")
    trial.expect(reasons == Counter(crashed=len(guilty)), f"dead letters {dict(reasons)}")
    # One that a slow machine's broker did not take in time was refused, and nobody has promised to run it.
    missing = {request.call for request in innocent} - account.ok - account.refused
    trial.expect(not missing, f"{len(missing)} innocent calls without a finished run")
    innocent_dead = account.dead - guilty.keys()
    trial.expect(not innocent_dead, f"{len(innocent_dead)} innocent calls dead")
    trial.expect(beside == PROCESSES * THREADS, f"only {beside} threads of {PROCESSES * THREADS} serve again")


def hold_interpreter(trial: Trial) -> None:
    """Calls that hold the interpreter's lock for three leases, with others beside them."""
    lease_s = trial.rig.lease_s if trial.ours else STOCK_LEASE_S
    greedy = list(trial.plain(1, kind=Kind.GREEDY, ms=int(3_000 * lease_s)))
    # Others go on meanwhile: plain Dramatiq looks for workers without a heartbeat at one command of a thousand.
    trial.load([*greedy, *trial.plain(int(3 * 20 * lease_s), ms=5)], per_s=20.0)
    settled_s = trial.settle()
    runs = Counter(line.call for line in trial.lines() if line.mark is Mark.STARTED)
    most = max(runs[request.call] for request in greedy)
    trial.figures["most runs of one call"] = str(most)
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(most <= 2, f"a call ran {most} times")  # the promise's number
    trial.expect(not trial.account().dead, f"{len(trial.account().dead)} dead")


def shift_clocks(trial: Trial) -> None:
    """A worker whose clock is ten minutes ahead beside a right one; services ten minutes ahead and behind."""
    extra = trial.rig.start_worker(clock_s=CLOCK_S, processes=1)
    services = [trial.rig.start_service(clock_s=shift_s) for shift_s in (CLOCK_S, -CLOCK_S)]
    try:
        trial.rig.wait_for_worker(extra)
        for service in services:
            trial.load(trial.mixed(trial.pick(short=150, long=2_000)), per_s=100.0, port=service.port)
        settled_s = trial.settle()
    finally:
        extra.stop()
        for service in services:
            service.stop()
    early = trial.early()
    trial.figures["delayed calls that ran early"] = str(early)
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(not early, f"{early} delayed calls ran early")
    trial.expect(not trial.account().duplicated, f"{len(trial.account().duplicated)} duplicated")
    trial.expect(not trial.account().dead, f"{len(trial.account().dead)} dead")


FAULTS: Final = (
    Fault(
        name="deadly-task",
        title="tasks that exit, crash (SIGSEGV) or kill (SIGKILL) their worker process, between innocent ones",
        promise="at most 3 runs, then one dead letter (crashed); innocent calls all run, every thread serves again",
        act=end_processes,
    ),
    Fault(
        name="clocks",
        title="a worker's clock 10 minutes ahead, producers' clocks 10 minutes ahead and behind",
        promise="0 duplicated; delayed calls and retries run when they are due",
        act=shift_clocks,
    ),
    Fault(
        name="greedy-task",
        title="tasks that hold the interpreter's lock for three leases",
        promise="at most 2 runs, none dead",
        act=hold_interpreter,
        compared=frozenset({Scale.LONG}),  # three of plain Dramatiq's leases are three minutes
    ),
)
