"""A policy made of rules: the first that matches decides, and if none does, the last word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy.expression import Expression
from weighbridge.policy.revision import content_hash

#: The name under which ``[otherwise]`` stands in decisions; no rule can have it.
OTHERWISE: Final = "otherwise"
#: What stands in decisions where a policy in code has failed and its default lane holds.
DEFAULT_LANE: Final = "default_lane"
#: What stands in decisions in the place of a rule where none decided; no rule can have such a name either.
RESERVED: Final = frozenset(
    {
        OTHERWISE,
        DEFAULT_LANE,
        "no dispatcher",
        "on_unavailable",
        "options",
        "worker",
        "cannot_cross",
        "durable",
        "shares_memory",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a policy. ``decision`` is made beforehand, so that deciding makes nothing.

    ``reason`` is what the file tells in the place of the expression, or empty. ``origin`` is the name of the
    shipped policy that the rule comes from, or empty for a rule of the file itself.
    """

    name: str
    when: Expression
    decision: Decision
    reason: str = ""
    origin: str = ""

    @classmethod
    def of(
        cls,
        *,
        policy: str,
        name: str,
        when: Expression,
        lane: Lane,
        reason: str = "",
        origin: str = "",
        revision: str = "",
    ) -> Rule:
        """A rule of the policy of this name and revision. ``reason`` is told in the place of the expression."""
        told = f"policy {policy}, rule {name!r}{_of(origin)}: {reason or when.text}"
        decision = Decision(lane=lane, reason=told, rule=name, revision=revision)
        return cls(name=name, when=when, decision=decision, reason=reason, origin=origin)

    def taken(self, *, policy: str, origin: str, revision: str) -> Rule:
        """The rule as one of another policy, which has taken it from the policy ``origin``."""
        return Rule.of(
            policy=policy,
            name=self.name,
            when=self.when,
            lane=self.lane,
            reason=self.reason,
            origin=self.origin or origin,
            revision=revision,
        )

    @property
    def lane(self) -> Lane:
        """The lane of the calls that it matches."""
        return self.decision.lane


def last_word(*, policy: str, lane: Lane, reason: str = "", origin: str = "", revision: str = "") -> Decision:
    """The decision of a policy whose rules all do not match; the arguments are those of :meth:`Rule.of`."""
    told = f"policy {policy}, {OTHERWISE}{_of(origin)}: {reason or 'no rule matches'}"
    return Decision(lane=lane, reason=told, rule=OTHERWISE, revision=revision)


def deciding(rule: str) -> str:
    """How a text names what decided: a rule of the policy, its last word, or its default lane."""
    if rule == DEFAULT_LANE:
        return "its default lane"
    return title_of(rule) if rule == OTHERWISE else f"rule {rule!r}"


def title_of(rule: str) -> str:
    """How a table names it: a rule by its name alone."""
    return f"[{OTHERWISE}]" if rule == OTHERWISE else rule


def _of(origin: str) -> str:
    return f" of {origin}" if origin else ""


def _content(decision: Decision) -> tuple[str, str, str]:
    return decision.lane.value, decision.reason, decision.rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a policy file says about itself: calls with these facts take this lane."""

    facts: Facts
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePolicy:
    """A policy read from a file. ``source`` is the path as it was given, or says that the policy is shipped.

    ``revision`` says which content was read: twelve hexadecimal digits of a hash of the file's text, and of
    the base's revision if the file ``extends`` a shipped policy, whose rules then stand behind its own.
    ``otherwise_reason`` and ``otherwise_origin`` are to ``otherwise`` what a rule's ``reason`` and ``origin``
    are to its decision. One that is made by hand may leave it empty: where it is given as a policy, a copy takes its
    place whose revision is a hash of what is in it (:meth:`revised`).

    Pure, total and stateless: an instance may decide on any number of threads. A subclass with a ``decide`` of its own
    is a policy in code (:func:`rules_of`): that is asked, and what it inherits, such as ``reads``, is what it declares.
    """

    name: str
    source: str
    description: str = ""
    rules: tuple[Rule, ...] = ()
    otherwise: Decision
    otherwise_reason: str = ""
    otherwise_origin: str = ""
    examples: tuple[Example, ...] = ()
    extends: str = ""
    revision: str = ""

    @property
    def reads(self) -> frozenset[str]:
        """The dotted names of the facts that the rules look at."""
        return frozenset[str]().union(*(rule.when.reads for rule in self.rules))

    def revised(self) -> RulePolicy:
        """This policy with a revision, which each of its decisions carries; the policy itself if that is so already.

        If it has none, it is the first 12 hexadecimal digits of a hash of its rules, its last word and its names.
        """
        revision = self.revision or content_hash(self._written())
        decisions = [self.otherwise, *(rule.decision for rule in self.rules)]
        if self.revision and all(decision.revision == revision for decision in decisions):
            return self
        return replace(
            self,
            rules=tuple(replace(rule, decision=replace(rule.decision, revision=revision)) for rule in self.rules),
            otherwise=replace(self.otherwise, revision=revision),
            revision=revision,
        )

    def _written(self) -> str:
        rules = [
            (rule.name, rule.when.source, rule.when.unknown.value, _content(rule.decision), rule.reason, rule.origin)
            for rule in self.rules
        ]
        last = (_content(self.otherwise), self.otherwise_reason, self.otherwise_origin)
        return repr((self.name, self.extends, rules, last))

    def decide(self, facts: Facts, /) -> Decision:
        """The decision of the first rule that certainly matches, or the last word."""
        for rule in self.rules:
            if rule.when.evaluate(facts):
                return rule.decision
        return self.otherwise

    def possible(self, static: Mapping[str, object]) -> Iterator[tuple[Decision, frozenset[str]]]:
        """The decisions that are possible when the facts in ``static`` are known, and the others may be anything.

        They come in the order of the rules, each with the names of the facts by which it is this decision or one that
        comes after it; the last one with none.
        """
        for rule in self.rules:
            matches = rule.when.possible(static)
            if True in matches:
                if False not in matches:
                    yield rule.decision, frozenset()
                    return
                yield rule.decision, rule.when.open_reads(static)
        yield self.otherwise, frozenset()

    def decided(self, static: Mapping[str, object]) -> Decision | None:
        """The decision for every call with the facts in ``static``; ``None`` if it depends on others too."""
        decision, depends_on = next(self.possible(static))
        return None if depends_on else decision

    def possible_lanes(self, static: Mapping[str, object]) -> frozenset[Lane]:
        """The lanes that are left when the facts in ``static`` are known, and the others may be anything."""
        return frozenset(decision.lane for decision, _ in self.possible(static))


def rules_of(policy: object) -> RulePolicy | None:
    """The policy, if its rules say what it decides; ``None`` if it can only be asked.

    So it is of one in code, and of one whose class has a ``decide`` of its own in the place of that of the rules.
    """
    return policy if isinstance(policy, RulePolicy) and type(policy).decide is RulePolicy.decide else None
