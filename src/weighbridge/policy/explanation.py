"""An explanation: a decision, each rule that was tried and why it did not match, and what would change the lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy.change import Change, Changes, changes_of
from weighbridge.policy.fact import FACTS
from weighbridge.policy.fact_values import values_of
from weighbridge.policy.protocol import Policy, ask
from weighbridge.policy.rule import Rule, deciding, rules_of, title_of
from weighbridge.policy.value_text import shown_value

#: How the fields of a decision are called, which an explanation has too; and those by which both are equal.
_FIELDS: Final = tuple(each.name for each in fields(Decision))
_COMPARED: Final = tuple(each.name for each in fields(Decision) if each.compare)
_GO: Final = {Lane.QUEUE: "go to the queue", Lane.IN_PROCESS: "stay in process"}
#: Changes are aligned with each other unless one is longer than this, in characters.
WIDEST: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRule:
    """A rule that was tried. ``values`` are those of the facts in its expression, by their dotted names.

    ``because`` names the values that settle whether it matches, whatever the others are: ``weight is 1``. It is empty
    if no value can change that.
    """

    name: str
    lane: Lane
    expression: str
    matched: bool
    values: Mapping[str, object]
    because: str

    @classmethod
    def of(cls, rule: Rule, facts: Facts, *, known: Mapping[str, object]) -> TriedRule:
        """What came of trying ``rule`` on ``facts``, whose values by name are ``known``."""
        values = {name: known[name] for name in FACTS if name in rule.when.reads}
        return cls(
            name=rule.name,
            lane=rule.lane,
            expression=rule.when.text,
            matched=rule.when.evaluate(facts),
            values=values,
            because=" and ".join(f"{name} is {shown_value(values[name])}" for name in _settling(rule, values)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation(Decision):
    """A decision and where it comes from. It is equal to the decision alone, and has its hash.

    ``constraint`` says why no policy was asked (as the end of a sentence that starts with "it"), and is empty if one
    was. ``tried`` are the rules up to the one that decided; none for a policy that is not from a file. ``changes`` are
    those of the fewest facts that would give the other lane, one for each set of so many facts, at the nearest values
    that were found; none if more than two facts would have to change. ``all_searched``: there are no others of so few
    facts; it is false where there was too much to try. ``instead_of`` explains what the policy said,
    where something else decided after it.
    """

    facts: Facts
    constraint: str = ""
    tried: tuple[TriedRule, ...] = ()
    changes: tuple[Change, ...] = ()
    all_searched: bool = True
    instead_of: Explanation | None = None

    @classmethod
    def of(
        cls,
        decision: Decision,
        *,
        facts: Facts,
        constraint: str = "",
        tried: tuple[TriedRule, ...] = (),
        changes: Changes | None = None,
    ) -> Explanation:
        """The explanation of ``decision``."""
        told: dict[str, Any] = {name: getattr(decision, name) for name in _FIELDS}
        changes = changes or Changes()
        return cls(
            **told,
            facts=facts,
            constraint=constraint,
            tried=tried,
            changes=changes.found,
            all_searched=changes.all_searched,
        )

    def overruled_by(self, decision: Decision) -> Explanation:
        """The explanation of a decision that holds in the place of this one."""
        told: dict[str, Any] = {name: getattr(decision, name) for name in _FIELDS}
        return type(self)(**told, facts=self.facts, instead_of=self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))  # as a dataclass hashes its fields

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def explain(policy: Policy, facts: Facts) -> Explanation:
    """The decision of ``policy`` about ``facts``, and where it comes from. It takes milliseconds: not for each request.

    Of a policy whose rules do not decide (:func:`~weighbridge.policy.rules_of`) only the decision is known.

    :raises PolicyError: if the policy raises, or answers with something else than a decision.
    """
    decision = ask(policy, facts)
    ruled = rules_of(policy)
    if ruled is None:
        return Explanation.of(decision, facts=facts)
    tried: list[TriedRule] = []
    known = values_of(facts)
    for rule in ruled.rules:
        tried.append(TriedRule.of(rule, facts, known=known))
        if tried[-1].matched:
            break
    return Explanation.of(decision, facts=facts, tried=tuple(tried), changes=changes_of(ruled, facts))


def _compared(decision: Decision) -> tuple[object, ...]:
    return tuple(getattr(decision, name) for name in _COMPARED)


def _settling(rule: Rule, values: dict[str, object]) -> list[str]:
    """Facts whose values alone settle whether the rule matches; unknown ones are named only if no other does it."""
    outcome = rule.when.possible(values)
    # Of most rules one fact settles it, and to find that out first spares to look at each of the others.
    for name in reversed(values):
        if values[name] is not None and rule.when.possible({name: values[name]}) == outcome:
            return [name]
    needed = dict(values)
    for name in sorted(values, key=lambda each: values[each] is not None):
        others = {each: value for each, value in needed.items() if each != name}
        if rule.when.possible(others) == outcome:
            needed = others
    return list(needed)


# -- as text ------------------------------------------------------------------------------------------------


def _lines(told: Explanation) -> Iterator[str]:
    if told.constraint:
        yield f"{told.lane}, by a constraint that no policy overrides: it {told.constraint}"
        return
    if told.instead_of is not None:
        yield f"{told.lane}: {told.reason}"
        yield ""
        yield "The policy said:"
        yield from _lines(told.instead_of)
        return
    yield f"{told.lane}, by {deciding(told.rule)}"
    yield f"  {told.reason}"
    if told.tried:
        yield ""
        yield "The rules, as they were tried:"
    for number, rule in enumerate(told.tried, 1):
        yield from _tried_lines(number, rule)
    if told.tried and not told.tried[-1].matched:
        yield f"  {len(told.tried) + 1}. {title_of(told.rule)}: {told.lane}"
    if told.changes:
        yield ""
        yield f"It would {_GO[told.changes[0].lane]} with any one of these:"
        width = max(len(str(change)) for change in told.changes)
        for change in told.changes:
            by = deciding(change.rule)
            yield f"  {change!s:<{width}}  ({by})" if width <= WIDEST else f"  {change} ({by})"
        if not told.all_searched:
            yield "Not all was tried, so there may be others."
    elif told.tried:
        yield ""
        not_all = "" if told.all_searched else "; not all was tried"
        yield f"No change of one or two facts was found that gives the other lane{not_all}."


def _tried_lines(number: int, rule: TriedRule) -> Iterator[str]:
    indent = " " * (len(str(number)) + 4)
    yield f"  {number}. {rule.name}: {rule.lane}"
    yield f"{indent}{rule.expression}"
    values = ", ".join(f"{name} = {shown_value(value)}" for name, value in rule.values.items())
    if values:
        yield f"{indent}{values}"
    verb = "matches" if rule.matched else "does not match"
    yield f"{indent}{verb}: {rule.because}" if rule.because else f"{indent}{verb}, whatever the facts are"
