"""A policy made of rules: the first that matches decides, and if none does, the last word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy.expression import Expression

#: The name under which ``[otherwise]`` stands in decisions; no rule can have it.
OTHERWISE: Final = "otherwise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a policy. ``decision`` is made beforehand, so that deciding makes nothing."""

    name: str
    when: Expression
    decision: Decision

    @classmethod
    def of(cls, *, policy: str, name: str, when: Expression, lane: Lane, reason: str = "") -> Rule:
        """A rule of the policy of this name. ``reason`` is told in the place of the expression."""
        told = f"policy {policy}, rule {name!r}: {reason or when.text}"
        return cls(name=name, when=when, decision=Decision(lane=lane, reason=told, rule=name))

    @property
    def lane(self) -> Lane:
        """The lane of the calls that it matches."""
        return self.decision.lane


def last_word(*, policy: str, lane: Lane, reason: str = "") -> Decision:
    """The decision of a policy whose rules all do not match."""
    told = f"policy {policy}, {OTHERWISE}: {reason or 'no rule matches'}"
    return Decision(lane=lane, reason=told, rule=OTHERWISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a policy file says about itself: calls with these facts take this lane."""

    facts: Facts
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePolicy:
    """A policy read from a file. ``source`` is the path as it was given, or says that the policy is shipped.

    Pure, total and stateless: an instance may decide on any number of threads.
    """

    name: str
    source: str
    description: str = ""
    rules: tuple[Rule, ...] = ()
    otherwise: Decision
    examples: tuple[Example, ...] = ()

    @property
    def reads(self) -> frozenset[str]:
        """The dotted names of the facts that the rules look at."""
        return frozenset[str]().union(*(rule.when.reads for rule in self.rules))

    def decide(self, facts: Facts, /) -> Decision:
        """The decision of the first rule that certainly matches, or the last word."""
        for rule in self.rules:
            if rule.when.evaluate(facts):
                return rule.decision
        return self.otherwise

    def decided(self, static: Mapping[str, object]) -> Decision | None:
        """The decision for every call with the facts in ``static``; ``None`` if it depends on others too."""
        for rule in self.rules:
            matches = rule.when.possible(static)
            if True in matches:
                return rule.decision if False not in matches else None
        return self.otherwise

    def possible_lanes(self, static: Mapping[str, object]) -> frozenset[Lane]:
        """The lanes that are left when the facts in ``static`` are known, and the others may be anything."""
        lanes: set[Lane] = set()
        for rule in self.rules:
            matches = rule.when.possible(static)
            if True in matches:
                lanes.add(rule.lane)
            if False not in matches:
                return frozenset(lanes)
        return frozenset({*lanes, self.otherwise.lane})
