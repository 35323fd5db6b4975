"""The shadow policy: asked about each call beside the one that decides, never obeyed, and compared with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from weighbridge.appointed import MOST_KEPT, Appointed
from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy import Policy
from weighbridge.task import TaskSpec


@dataclass(frozen=True, slots=True)
class ShadowCount:
    """So many ``calls`` of one task that one rule decided, and what the shadow policy said of them.

    ``rule`` and ``lane`` are those that were obeyed, by the policy of this ``revision``; ``shadow_rule`` and
    ``shadow_lane`` are the shadow policy's. ``by_load``: it looked at readings, and what they were follows from the
    policy that is obeyed: under its own it might have met another load, and decided otherwise.
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
_Key = tuple[str, str, str, Lane, str, Lane, bool]


class Shadow:
    """One shadow policy and what it has said, in this process since it was appointed. On any thread."""

    def __init__(self, policy: Policy) -> None:
        self.policy: Final = policy
        self._appointed: Final = Appointed(policy)
        self._lock = threading.Lock()
        self._calls: dict[_Key, int] = {}
        self._failed: dict[str, int] = {}

    @property
    def revision(self) -> str:
        """The revision of the shadow policy."""
        return self._appointed.revision

    @property
    def counts(self) -> tuple[ShadowCount, ...]:
        """What it said of the calls so far, by task, most calls first."""
        with self._lock:
            rows = [ShadowCount(*key, calls) for key, calls in self._calls.items()]
        return tuple(sorted(rows, key=lambda row: (row.task, -row.calls, row.rule, row.shadow_rule)))

    @property
    def failures(self) -> dict[str, int]:
        """How often it has failed, or what it asks for could not be read, by task. Such a call is not compared."""
        with self._lock:
            return dict(self._failed)

    def compare(self, spec: TaskSpec, weight: float, decision: Decision, facts: Callable[[Appointed], Facts]) -> None:
        """Ask the policy about a call that was decided, and count both answers. Nothing that happens here gets out.

        :param facts: Gives what a policy looks at; asked only if the declaration does not decide alone.
        """
        try:
            static = self._appointed.static(spec, weight)
            other = self._appointed.ask(facts(self._appointed)) if static is None else static
        except Exception:  # noqa: BLE001  # a shadow must not change an outcome, whatever its code does
            with self._lock:
                self._failed[spec.name] = self._failed.get(spec.name, 0) + 1
            return
        by_load = static is None
        with self._lock:
            key = (spec.name, decision.revision, decision.rule, decision.lane, other.rule, other.lane, by_load)
            if key in self._calls or len(self._calls) < MOST_KEPT:
                self._calls[key] = self._calls.get(key, 0) + 1
