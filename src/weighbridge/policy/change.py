"""A change: other values for one fact or two, which would give the other lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy.cells import cells_of
from weighbridge.policy.fact import FACTS
from weighbridge.policy.fact_values import changed, values_of
from weighbridge.policy.rule import RulePolicy
from weighbridge.policy.value_text import shown_value

#: Facts that nobody would change for another lane.
GIVEN: Final = frozenset({"name"})
#: A change of more facts than this says nothing that a look at the rules does not say.
MOST_FACTS: Final = 2
#: So many combinations of values are tried before nothing more is said: about a tenth of a second.
BUDGET: Final = 20_000
#: Of each of two facts no more values are combined: the nearest.
MOST_VALUES: Final = 100


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


def changes_of(policy: RulePolicy, facts: Facts) -> tuple[Change, ...]:
    """The changes of the fewest facts that give the other lane, one for each set of facts, at the nearest values.

    Nothing is changed to unknown, and the name stays. Where more than two facts would have to change, there is none;
    and where there is too much to try, some may be missing.
    """
    present = values_of(facts)
    lane = policy.decide(facts).lane
    cells = cells_of((rule.when.statement for rule in policy.rules), around=present)
    others = {
        name: sorted(
            (value for value in cells[name].values if value is not None and value != present[name]),
            key=lambda value, name=name: _distance(value, present[name]),  # type: ignore[misc]  # bound in the loop
        )
        for name in FACTS
        if name in cells and name not in GIVEN
    }
    left = BUDGET
    for count in range(1, MOST_FACTS + 1):
        found: list[Change] = []
        for names in combinations(others, count):
            for values in _nearest_first([others[name] for name in names]):
                if left <= 0:
                    return tuple(found)
                left -= 1
                to = dict(zip(names, values, strict=True))
                decision = policy.decide(changed(facts, to))
                if decision.lane is not lane:
                    found.append(_change(to, present, decision))
                    break
        if found:
            return tuple(found)
    return ()


def _change(to: Mapping[str, object], present: Mapping[str, object], decision: Decision) -> Change:
    return Change(
        values=dict(to),
        instead_of={name: present[name] for name in to},
        lane=decision.lane,
        rule=decision.rule,
    )


def _nearest_first(choices: Sequence[Sequence[object]]) -> Iterator[tuple[object, ...]]:
    """Each combination, by how far down its values stand, all in all, in lists that begin with the nearest."""
    if len(choices) > 1:
        choices = [values[:MOST_VALUES] for values in choices]
    places = product(*(range(len(values)) for values in choices))
    for each in sorted(places, key=lambda place: (sum(place), place)):
        yield tuple(values[index] for values, index in zip(choices, each, strict=True))


def _distance(value: object, present: object) -> float:
    """How far a value is from the present one; from an unknown one the lowest is the nearest."""
    if isinstance(value, tuple):
        return len(set(value) ^ set(present if isinstance(present, tuple | list) else ()))
    if isinstance(value, int | float):
        return abs(value - (present if isinstance(present, int | float) else 0))
    return 0  # texts and flags are all alike
