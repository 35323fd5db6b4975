"""The appointed policy: the one that decides now, what has to be read for it, and what it is known to answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from weighbridge.decision import BrokerReading, Decision, Facts, InProcessReading, Lane, LoopReading
from weighbridge.errors import PolicyError
from weighbridge.events import emit
from weighbridge.policy import (
    Explanation,
    Policy,
    ask,
    default_lane_of,
    explain,
    reads_of,
    revision_of,
    rules_of,
    source_of,
)
from weighbridge.policy.rule import DEFAULT_LANE
from weighbridge.task import TaskSpec

logger: Final = logging.getLogger("weighbridge.chooser")

POLICY_FAILED: Final = "chooser.policy_failed"

#: How many static decisions are kept, and how many kinds of failure are told apart: both are few, but for a service
#: that makes up options or tasks as it goes.
MOST_KEPT: Final = 4_096


def static_facts_of(spec: TaskSpec) -> dict[str, object]:
    """The facts, by dotted name, that are the same for each call of a task; ``weight`` is not there if computed."""
    static: dict[str, object] = {
        "name": spec.name,
        "queue": spec.queue,
        "priority": spec.priority,
        "tags": spec.tags,
        "is_async": spec.is_async,
    }
    if not callable(spec.weight):
        static["weight"] = spec.weight
    return static


class PolicyFailures:
    """How often a policy in code has failed, and which failures were logged already. On any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()

    def by_task(self) -> Mapping[str, int]:
        """The failures so far, by the name of the task that was to be decided about."""
        with self._lock:
            return dict(self._counts)

    def note(self, task: str, error: PolicyError, *, lane: Lane) -> None:
        """Count one; log it if it is the first of its kind, for a policy that fails once fails for each call."""
        kind = (task, type(error.__cause__ or error).__name__)
        with self._lock:
            self._counts[task] = self._counts.get(task, 0) + 1
            first = kind not in self._told and len(self._told) < MOST_KEPT
            if first:
                self._told.add(kind)
        if first:
            emit(
                logger,
                POLICY_FAILED,
                level=logging.ERROR,
                error=error.__cause__ or error,
                task=task,
                lane=str(lane),
                problem=str(error),
            )


class Appointed:
    """One policy in office. It never changes: another policy is another object of this class."""

    __slots__ = (
        "_chain",
        "_default_lane",
        "_failures",
        "_rules",
        "_static",
        "policy",
        "reads_broker",
        "reads_in_process",
        "reads_loop",
        "reads_payload",
        "revision",
    )

    def __init__(self, policy: Policy, *, failures: PolicyFailures | None = None, revision: str | None = None) -> None:
        reads = reads_of(policy)
        self.policy: Final = policy
        #: Found out once, for that may take a while, and a policy in code may have other values by the next time.
        self.revision: Final = revision_of(policy) if revision is None else revision
        self.reads_payload: Final = _reads(reads, "payload_bytes")
        self.reads_in_process: Final = _reads(reads, "in_process")
        self.reads_loop: Final = _reads(reads, "loop")
        self.reads_broker: Final = _reads(reads, "broker")
        self._default_lane = default_lane_of(policy)
        self._failures = PolicyFailures() if failures is None else failures
        #: The policy, if its rules can be read: one in code can only be asked.
        self._rules = rules_of(policy)
        #: What its rules come to, found out once: to look it up for each decision takes as long as to evaluate them.
        self._chain = tuple((rule.when.evaluate, rule.decision) for rule in self._rules.rules) if self._rules else ()
        #: By task and weight: the decision, or ``False`` where it depends on what differs between calls.
        self._static: dict[tuple[TaskSpec, float], Decision | bool] = {}

    def static(self, spec: TaskSpec, weight: float) -> Decision | None:
        """The decision for every call of a task with this weight; ``None`` if it depends on more than that."""
        known = self._static.get((spec, weight))
        if known is None:
            known = self._learn(spec, weight)
        return known if type(known) is Decision else None

    def _learn(self, spec: TaskSpec, weight: float) -> Decision | bool:
        if self._rules is None or callable(spec.weight):
            return False  # a weight that is computed differs from call to call
        decision = self._rules.decided({**static_facts_of(spec), "weight": weight}) or False
        if len(self._static) >= MOST_KEPT:
            self._static.clear()  # weights that are made up for each call would fill the memory
        self._static[spec, weight] = decision
        return decision

    def seen(self, facts: Facts) -> Facts:
        """What of ``facts`` a policy in code is shown: what it does not read is not filled in for its calls either."""
        if self._rules is not None:
            return facts
        return replace(
            facts,
            payload_bytes=facts.payload_bytes if self.reads_payload else None,
            in_process=facts.in_process if self.reads_in_process else InProcessReading(),
            loop=facts.loop if self.reads_loop else LoopReading(),
            broker=facts.broker if self.reads_broker else BrokerReading(),
        )

    def explain(self, facts: Facts) -> Explanation:
        """The decision of :meth:`decide`, and where it comes from. It takes milliseconds: not for each request.

        :raises PolicyError: as :meth:`decide`.
        """
        if self._rules is not None:
            return explain(self._rules, facts)
        try:
            decision = self.ask(facts)
        except PolicyError as error:
            decision = self._by_default(error)
        return Explanation.of(decision, facts=facts)

    def decide(self, facts: Facts) -> Decision:
        """The policy's decision, or that for its default lane if it fails, which is counted.

        :raises PolicyError: if it fails, and declares no default lane.
        """
        try:
            return self.ask(facts)
        except PolicyError as error:
            decision = self._by_default(error)
            self._failures.note(facts.name, error, lane=decision.lane)
            return decision

    def ask(self, facts: Facts) -> Decision:
        """The policy's decision, stamped with its revision.

        :raises PolicyError: if it fails.
        """
        if self._rules is not None:  # certain to answer, with its revision
            for holds, decision in self._chain:
                if holds(facts):
                    return decision
            return self._rules.otherwise
        decision = ask(self.policy, facts)
        if decision.revision == self.revision:
            return decision
        return Decision(decision.lane, decision.reason, decision.rule, self.revision)

    def _by_default(self, error: PolicyError) -> Decision:
        if self._default_lane is None:
            raise error
        reason = f"policy {source_of(self.policy)} failed, so its default lane holds"
        return Decision(self._default_lane, reason, DEFAULT_LANE, self.revision)


def _reads(names: frozenset[str] | None, fact: str) -> bool:
    """Whether a policy that reads these facts (``None``: all) reads this one, or one inside it."""
    return names is None or any(name == fact or name.startswith(f"{fact}.") for name in names)
