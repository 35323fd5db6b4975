"""A shadow policy as its user sees it: what it has said of the calls so far."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from weighbridge.decision import Lane
from weighbridge.policy import Policy


@dataclass(frozen=True, slots=True)
class ShadowCount:
    """So many ``calls`` of one task that one rule decided, and what the shadow policy said of them.

    ``rule`` and ``lane`` are those that were obeyed, by the policy of this ``revision``; ``shadow_rule`` and
    ``shadow_lane`` are the shadow policy's. ``by_load``: it looked at readings (of a policy in code: it may have), and
    what they were follows from the policy that is obeyed: under its own it might have met another load, and decided
    otherwise.
    """

    task: str
    revision: str
    rule: str
    lane: Lane
    shadow_rule: str
    shadow_lane: Lane
    by_load: bool
    calls: int

    @property
    def diverges(self) -> bool:
        """Whether the lanes differ."""
        return self.lane is not self.shadow_lane


#: A row of the counts, less the calls.
Row = tuple[str, str, str, Lane, str, Lane, bool]


@dataclass(slots=True)
class Tally:
    """Calls by row, and those without one: where the shadow failed, by task and revision; beyond the last row."""

    calls: Counter[Row] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)

    def __sub__(self, earlier: Tally) -> Tally:
        """What has come since: of each what is above 0."""
        return Tally(self.calls - earlier.calls, self.failed - earlier.failed, self.uncounted - earlier.uncounted)

    def copy(self) -> Tally:
        """One that stays as it is."""
        return Tally(self.calls.copy(), self.failed.copy(), self.uncounted.copy())

    @property
    def total(self) -> int:
        """All calls in it."""
        return self.calls.total() + self.failed.total() + self.uncounted.total()

    @property
    def failures(self) -> dict[str, int]:
        """The calls about which the shadow failed, by task."""
        by_task: Counter[str] = Counter()
        for (task, _), calls in self.failed.items():
            by_task[task] += calls
        return dict(by_task)


class Shadow:
    """One shadow policy and what it has said, in this process since it was appointed. On any thread."""

    def __init__(self, policy: Policy, revision: str) -> None:
        self.policy: Final = policy
        self.revision: Final = revision
        self._lock = threading.Lock()
        self._tally = Tally()

    @property
    def counts(self) -> tuple[ShadowCount, ...]:
        """What it said of the calls so far, by task, most calls first.

        Of the last 100 revisions that were obeyed, 4,096 rows at most for each.
        """
        with self._lock:
            rows = [ShadowCount(*row, calls) for row, calls in self._tally.calls.items()]
        return tuple(sorted(rows, key=lambda row: (row.task, -row.calls, row.rule, row.shadow_rule)))

    @property
    def failures(self) -> dict[str, int]:
        """How often it has failed, or what it asks for could not be read, by task. Such a call is not compared."""
        with self._lock:
            return self._tally.failures

    @property
    def uncounted(self) -> int:
        """Calls that were compared and have no row, since there were no more rows."""
        with self._lock:
            return self._tally.uncounted.total()
