"""The counter of a shadow: asks it about each call beside the policy that decides, obeys it never, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from weighbridge.appointed import MOST_KEPT, Appointed
from weighbridge.decision import Decision, Facts
from weighbridge.policy import Policy, RulePolicy, rules_of, source_of
from weighbridge.shadow.shadow import Row, Shadow, Tally
from weighbridge.task import TaskSpec

#: Revisions of obeyed policies that are counted. A service whose policy is tuned all day makes thousands.
MOST_REVISIONS: Final = 100
_READINGS: Final = ("in_process.", "loop.", "broker.")


class ShadowCounter(Shadow):
    """Compares one shadow policy with the one that decides. On any thread."""

    def __init__(self, policy: Policy) -> None:
        self._appointed: Final = Appointed(policy)
        super().__init__(policy, self._appointed.revision)
        #: Whether readings were looked at, by the rule that decided. Of a policy in code it is not known which.
        rules = rules_of(policy)
        self._by_load: Final = {} if rules is None else dict(_by_load(rules))
        self._may_read: Final = (
            self._appointed.reads_in_process or self._appointed.reads_loop or self._appointed.reads_broker
        )
        self._rows_of: Counter[str] = Counter()
        #: The policies that were obeyed, by revision, the latest last; each with where it comes from.
        self._obeyed: dict[str, str] = {}

    @property
    def tally(self) -> Tally:
        """All of it, as it is now."""
        with self._lock:
            return self._tally.copy()

    @property
    def names(self) -> dict[str, str]:
        """By revision, where the policies come from: the shadow's, and those that it was compared with."""
        with self._lock:
            return {**self._obeyed, self.revision: source_of(self.policy)}

    def beside(self, policy: Policy, revision: str) -> None:
        """Note where the policy comes from that decides from now on; the oldest of too many is forgotten."""
        with self._lock:
            self._obeyed.pop(revision, None)
            self._obeyed[revision] = source_of(policy)
            if len(self._obeyed) > MOST_REVISIONS:
                self._forget(next(iter(self._obeyed)))

    def _forget(self, revision: str) -> None:
        """With the lock held. By then a recorder has written what there was."""
        del self._obeyed[revision]
        self._rows_of.pop(revision, None)
        tally = self._tally
        self._tally = Tally(
            Counter({row: calls for row, calls in tally.calls.items() if row[1] != revision}),
            Counter({key: calls for key, calls in tally.failed.items() if key[1] != revision}),
            Counter({key: calls for key, calls in tally.uncounted.items() if key != revision}),
        )

    def compare(self, spec: TaskSpec, weight: float, decision: Decision, facts: Callable[[Appointed], Facts]) -> None:
        """Ask the policy about a call that was decided, and count both answers. Nothing that happens here gets out.

        :param facts: Gives what a policy looks at; asked only if the declaration does not decide alone.
        """
        try:
            static = self._appointed.static(spec, weight)
            other = self._appointed.ask(facts(self._appointed)) if static is None else static
            by_load = static is None and self._by_load.get(other.rule, self._may_read)
            self._count((spec.name, decision.revision, decision.rule, decision.lane, other.rule, other.lane, by_load))
        except Exception:  # noqa: BLE001  # a shadow must not change an outcome, whatever its code does
            with self._lock:
                self._tally.failed[spec.name, decision.revision] += 1

    def _count(self, row: Row) -> None:
        revision = row[1]
        with self._lock:
            calls = self._tally.calls
            known = calls.get(row)
            if known is not None:
                calls[row] = known + 1
            elif self._rows_of[revision] < MOST_KEPT:  # of each, or the rows of one would leave none to the next
                self._rows_of[revision] += 1
                calls[row] = 1
            else:
                self._tally.uncounted[revision] += 1


def _by_load(policy: RulePolicy) -> Iterator[tuple[str, bool]]:
    """Of each rule, whether it or one before it reads readings: they are evaluated in this order."""
    found = False
    for rule in policy.rules:
        found = found or any(name.startswith(_READINGS) for name in rule.when.reads)
        yield rule.decision.rule, found
    yield policy.otherwise.rule, found
