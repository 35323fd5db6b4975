"""An idle worker: how soon it picks a call up, and what its waiting costs the server."""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

from tests.faults.load import Request
from tests.faults.record import Mark
from tests.faults.trial import Fault, Trial

#: Milliseconds from ``add_task`` to the first line of the task.
MEDIAN_MS: Final = 3.0
P99_MS: Final = 10.0
#: Commands that an idle worker process may send in a second for one queue.
COMMANDS_PER_S: Final = 2.0


def pick_up(trial: Trial) -> None:
    """Add one call after the other to an idle worker; then let it be, and count the server's commands."""
    calls, per_s, rest_s = trial.pick(short=(40, 10.0, 4.0), long=(500, 5.0, 30.0))
    requests = [Request(call=call, path=f"/timed/{call}") for call in (trial.new_call() for _ in range(calls))]
    trial.load(requests, per_s=per_s)
    trial.settle()
    took_ms = waits_ms(trial)
    median_ms, p99_ms = statistics.median(took_ms), took_ms[int(len(took_ms) * 0.99)]
    before = _commands(trial)
    time.sleep(rest_s)
    per_process = (_commands(trial) - before) / rest_s / trial.rig.processes
    trial.figures["picked up after"] = f"median {median_ms:.1f} ms, p99 {p99_ms:.1f} ms, longest {took_ms[-1]:.1f} ms"
    trial.figures["commands of an idle process"] = f"{per_process:.1f} a second for a queue"
    # In the short form both sides run at once, through proxies, on whatever machine this is.
    factor = trial.pick(short=10.0, long=1.0)
    trial.expect(median_ms <= factor * MEDIAN_MS, f"picked up after {median_ms:.0f} ms")
    trial.expect(
        p99_ms <= 3 * factor * P99_MS if factor > 1 else p99_ms <= P99_MS, f"1 % after {p99_ms:.0f} ms and more"
    )
    # A reader looks for lapsed leases five times in a lease, and in the short form a lease is short.
    limit = COMMANDS_PER_S + trial.pick(short=10.0 / trial.rig.lease_s, long=0.0)
    trial.expect(per_process <= limit, f"{per_process:.1f} commands a second for an idle queue")


def waits_ms(trial: Trial) -> list[float]:
    """The milliseconds between adding a call and the first line of its run, in order."""
    added = {line.call: line.at_s for line in trial.lines() if line.mark is Mark.ADDED}
    started = {line.call: line.at_s for line in reversed(trial.lines()) if line.mark is Mark.STARTED}
    return sorted((started[call] - at_s) * 1000 for call, at_s in added.items() if call in started)


def _commands(trial: Trial) -> int:
    """The commands that the server has run, those in scripts too; without the question itself."""
    information: Any = trial.rig.client.info("commandstats")
    return sum(each["calls"] for name, each in information.items() if name != "cmdstat_info")


FAULTS: Final = (
    Fault(
        name="idle-pick-up",
        title="no fault: a worker waits, and gets one call (no proxies, `appendfsync everysec`)",
        promise="it starts within 3 ms (median; p99 10 ms); waiting costs at most 2 commands a second",
        act=pick_up,
        direct=True,
    ),
)
