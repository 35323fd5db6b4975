"""A change: other values for one fact or two, which would give the other lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy.cells import cells_of, operands_of
from weighbridge.policy.fact import FACTS
from weighbridge.policy.fact_values import changed, values_of
from weighbridge.policy.rule import Rule, RulePolicy
from weighbridge.policy.value_text import shown_value

#: Facts that nobody would change for another lane.
GIVEN: Final = frozenset({"name"})
#: A change of more facts than this says nothing that a look at the rules does not say.
MOST_FACTS: Final = 2
#: So many facts and literals are looked at before nothing more is said: some hundredths of a second.
BUDGET: Final = 1_000_000
#: To make the facts of one trial takes as long as to look at so many; and to find the values to try, for each.
COST_OF_FACTS: Final = 200
COST_OF_CELLS: Final = 50
#: Of each of two facts no more values are combined: the nearest.
MOST_VALUES: Final = 100

_Names: TypeAlias = tuple[str, ...]
_Found: TypeAlias = tuple[Mapping[str, object], Decision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Other values for some facts, by their dotted names, and those that they have; what would decide then."""

    values: Mapping[str, object]
    instead_of: Mapping[str, object]
    lane: Lane
    rule: str

    def applied(self, facts: Facts) -> Facts:
        """``facts`` with the other values."""
        return changed(facts, self.values)

    def __str__(self) -> str:
        return " and ".join(
            f"{name} = {shown_value(value)} instead of {shown_value(self.instead_of[name])}"
            for name, value in self.values.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a search has found. ``all_searched``: there are no others of so few facts, nor any of fewer."""

    found: tuple[Change, ...] = ()
    all_searched: bool = True


def changes_of(policy: RulePolicy, facts: Facts, *, budget: int = BUDGET) -> Changes:
    """The changes of the fewest facts that give the other lane, one for each set of facts, at the nearest values.

    Nothing is changed to unknown, and the name stays. Where more than two facts would have to change, there is none;
    and where it takes more than to look at ``budget`` facts and literals, all in all, some may be missing.
    """
    search = _Search(policy, facts, budget=budget)
    if not search.has_budget():
        return Changes(all_searched=False)
    present = values_of(facts)
    cells = cells_of((rule.when.statement for rule in policy.rules), around=present)
    others = {
        name: sorted(
            (value for value in cells[name].values if value is not None and value != present[name]),
            key=lambda value, name=name: _distance(value, present[name]),  # type: ignore[misc]  # bound in the loop
        )
        for name in FACTS
        if name in cells and name not in GIVEN
    }
    cut = {name for name in others if not cells[name].complete}
    long = {name for name in others if len(others[name]) > MOST_VALUES}
    all_searched = True
    for count in range(1, MOST_FACTS + 1):
        trials = {names: _nearest_first([others[name] for name in names]) for names in combinations(others, count)}
        found = search.found(trials)
        missed = {name for names in trials if names not in found for name in names}
        all_searched = all_searched and search.has_budget() and missed.isdisjoint(cut if count == 1 else cut | long)
        if found or not search.has_budget():
            changes = tuple(_change(*found[names], present) for names in trials if names in found)
            return Changes(found=changes, all_searched=all_searched)
    return Changes(all_searched=all_searched)


class _Search:
    """Tries values on a policy until the other lane comes out; counts what it looks at."""

    def __init__(self, policy: RulePolicy, facts: Facts, *, budget: int) -> None:
        self._policy = policy
        self._facts = facts
        self._lane = policy.decide(facts).lane
        self._matches = [rule.when.evaluate(facts) for rule in policy.rules]
        self._sizes = [1 + operands_of(rule.when.statement) for rule in policy.rules]
        self._left = budget - COST_OF_CELLS * sum(self._sizes)

    def has_budget(self) -> bool:
        """Whether all was looked at that was asked for."""
        return self._left >= 0

    def found(self, trials: Mapping[_Names, Iterator[tuple[object, ...]]]) -> dict[_Names, _Found]:
        """For each of these sets of facts the first of its values that give the other lane, and what decides then.

        The sets take turns, so that one with many values leaves something of the budget to the others.
        """
        found: dict[_Names, _Found] = {}
        pending = {names: (values, self._chain(names)) for names, values in trials.items()}
        while pending:
            for names, (values, chain) in tuple(pending.items()):
                trial = next(values, None)
                if trial is None:
                    del pending[names]
                    continue
                to = dict(zip(names, trial, strict=True))
                decision = self._decision(chain, changed(self._facts, to))
                if not self.has_budget():
                    return found
                if decision.lane is not self._lane:
                    found[names] = to, decision
                    del pending[names]
        return found

    def _chain(self, names: _Names) -> list[tuple[Rule | None, int, Decision]]:
        """What is left of the rules where only these facts change: the others match, or not, as they did."""
        chain: list[tuple[Rule | None, int, Decision]] = []
        self._left -= len(self._policy.rules)
        for rule, matches, size in zip(self._policy.rules, self._matches, self._sizes, strict=True):
            if not rule.when.reads.isdisjoint(names):
                chain.append((rule, size, rule.decision))
            elif matches:
                return [*chain, (None, 0, rule.decision)]
        return [*chain, (None, 0, self._policy.otherwise)]

    def _decision(self, chain: Sequence[tuple[Rule | None, int, Decision]], facts: Facts) -> Decision:
        self._left -= COST_OF_FACTS
        for rule, size, decision in chain:
            self._left -= size
            if rule is None or rule.when.evaluate(facts) or self._left < 0:
                return decision
        raise AssertionError  # a chain ends with what decides whatever the facts are


def _change(to: Mapping[str, object], decision: Decision, present: Mapping[str, object]) -> Change:
    return Change(
        values=dict(to),
        instead_of={name: present[name] for name in to},
        lane=decision.lane,
        rule=decision.rule,
    )


def _nearest_first(choices: Sequence[Sequence[object]]) -> Iterator[tuple[object, ...]]:
    """Each combination, by how far down its values stand, all in all, in lists that begin with the nearest."""
    if len(choices) == 1:
        yield from ((value,) for value in choices[0])
        return
    one, other = (values[:MOST_VALUES] for values in choices)
    for steps in range(len(one) + len(other) - 1):
        for step in range(max(0, steps - len(other) + 1), min(steps, len(one) - 1) + 1):
            yield one[step], other[steps - step]


def _distance(value: object, present: object) -> float:
    """How far a value is from the present one; from an unknown one the lowest is the nearest."""
    if isinstance(value, tuple):
        return len(set(value) ^ set(present if isinstance(present, tuple | list) else ()))
    if isinstance(value, int | float):
        return abs(value - (present if isinstance(present, int | float) else 0))
    return 0  # texts and flags are all alike
