"""The counter of a shadow: asks it about each call beside the policy that decides, obeys it never, and counts."""

from __future__ import annotations

from collections.abc import Callable

from weighbridge.appointed import MOST_KEPT, Appointed
from weighbridge.decision import Decision, Facts
from weighbridge.policy import Policy, source_of
from weighbridge.shadow.shadow import Shadow, Tally
from weighbridge.task import TaskSpec


class ShadowCounter(Shadow):
    """Compares one shadow policy with the one that decides. On any thread."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self._names: dict[str, str] = {self.revision: source_of(policy)}

    @property
    def tally(self) -> Tally:
        """All of it, as it is now."""
        with self._lock:
            return self._tally.copy()

    @property
    def names(self) -> dict[str, str]:
        """By revision, where the policies come from: the shadow's, and those that it was compared with."""
        with self._lock:
            return self._names.copy()

    def beside(self, policy: Policy, revision: str) -> None:
        """Note where the policy comes from that decides from now on."""
        with self._lock:
            self._names[revision] = source_of(policy)

    def compare(self, spec: TaskSpec, weight: float, decision: Decision, facts: Callable[[Appointed], Facts]) -> None:
        """Ask the policy about a call that was decided, and count both answers. Nothing that happens here gets out.

        :param facts: Gives what a policy looks at; asked only if the declaration does not decide alone.
        """
        try:
            static = self._appointed.static(spec, weight)
            other = self._appointed.ask(facts(self._appointed)) if static is None else static
        except Exception:  # noqa: BLE001  # a shadow must not change an outcome, whatever its code does
            with self._lock:
                self._tally.failed[spec.name, decision.revision] += 1
            return
        by_load = static is None
        row = (spec.name, decision.revision, decision.rule, decision.lane, other.rule, other.lane, by_load)
        with self._lock:
            calls = self._tally.calls
            if row in calls or len(calls) < MOST_KEPT:
                calls[row] += 1
            else:
                self._tally.uncounted[decision.revision] += 1
