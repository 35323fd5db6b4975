"""Coverage: whether a rule can ever decide, or other rules match first whatever the facts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from weighbridge.decision import Lane
from weighbridge.policy.cells import Cells, cells_of, operands_of
from weighbridge.policy.expression import Expression
from weighbridge.policy.rule import Rule

#: So many facts and literals are looked at before nothing more is said: some hundredths of a second.
BUDGET: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreachableRule:
    """A rule that never decides. ``number`` counts the rules from 1.

    ``covered_by`` are the earlier rules, by name, of which one always matches first where it does; none: it does not
    match whatever the facts are. ``origin`` is the shipped policy that the rule comes from, if it does.
    """

    number: int
    rule: str
    covered_by: tuple[str, ...] = ()
    origin: str = ""

    @property
    def problem(self) -> str:
        """What is wrong, as the end of a sentence that starts with the rule's name."""
        if not self.covered_by:
            return "it matches no facts at all, so it never decides"
        return f"it never decides: {matching_first(self.covered_by)} whenever it would"

    @property
    def remedy(self) -> str:
        """What to do about it. A rule of a base cannot be changed, and need not be."""
        if self.origin:
            return (
                f"it comes from {self.origin}, so that may be what the file is for; "
                "if not, let the file's own rules match less"
            )
        return "put it above, or correct a limit, or delete it" if self.covered_by else "correct it, or delete it"


def matching_first(rules: Sequence[str]) -> str:
    """The beginning of a sentence about rules, by name, that leave nothing to what stands below them."""
    if len(rules) == 1:
        return f"rule {rules[0]!r} matches first"
    *before, last = map(repr, rules)
    return f"rules {', '.join(before)} and {last} together match first"


class _OutOfBudgetError(Exception):
    """Too much to look at, so nothing more is known."""


def unreachable(rules: Sequence[Rule], *, budget: int = BUDGET) -> tuple[UnreachableRule, ...]:
    """The rules of a policy that never decide, in their order.

    Each is proved: there are no facts that it matches and that no earlier rule matches. Where that cannot be found out
    by looking at ``budget`` facts and literals, all in all, nothing is said of a rule, so the answer may miss some.
    """
    found: list[UnreachableRule] = []
    live: list[Rule] = []
    search = _Search(budget)
    for number, rule in enumerate(rules, 1):
        try:
            covered_by = search.covering(rule, live)
        except _OutOfBudgetError:
            break
        if covered_by is None:
            live.append(rule)  # one that never decides takes nothing from the rules below it
        else:
            found.append(UnreachableRule(number=number, rule=rule.name, covered_by=covered_by, origin=rule.origin))
    return tuple(found)


def leaving_nothing(rules: Sequence[Rule], *, budget: int = BUDGET) -> tuple[str, ...]:
    """The fewest rules of a policy, by name, of which one matches whatever the facts are, so that none gets further.

    None where some calls get further, or where ``budget`` facts and literals are not enough to find that out.
    """
    anything = Rule.of(policy="", name="", when=Expression.parse("True"), lane=Lane.QUEUE)
    never = {each.rule for each in unreachable(rules, budget=budget)}
    try:
        return _Search(budget).covering(anything, [rule for rule in rules if rule.name not in never]) or ()
    except _OutOfBudgetError:
        return ()


class _Search:
    """Looks for facts that one rule matches and others do not; counts what it looks at."""

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._sizes: dict[str, int] = {}

    def covering(self, rule: Rule, earlier: Sequence[Rule]) -> tuple[str, ...] | None:
        """The fewest rules that leave nothing to ``rule``; none if it matches nothing; ``None`` if it can decide."""
        for each in (*earlier, rule):
            self._spend(each)
        cells = cells_of(each.when.statement for each in (*earlier, rule))
        # Of complete ones there are about as many as facts and literals, which are counted already.
        self._left -= sum(len(each.values) for each in cells.values() if not each.complete)
        if self._escapes(rule, earlier, cells):
            return None
        if not self._escapes(rule, (), cells):
            return ()
        for each in earlier:
            if not self._escapes(rule, (each,), cells):
                return (each.name,)
        needed = list(earlier)
        for each in earlier:
            others = [other for other in needed if other is not each]
            if not self._escapes(rule, others, cells):
                needed = others
        return tuple(each.name for each in needed)

    def _escapes(self, rule: Rule, earlier: Sequence[Rule], cells: Mapping[str, Cells]) -> bool:
        """Whether there are facts that ``rule`` matches and none of ``earlier`` does, or could be."""
        names = [name for each in (rule, *earlier) for name in each.when.reads]
        return not all(cells[name].complete for name in names) or self._goes_on({}, rule, earlier, cells)

    def _goes_on(
        self,
        static: Mapping[str, object],
        rule: Rule | None,
        earlier: Sequence[Rule],
        cells: Mapping[str, Cells],
    ) -> bool:
        """The same as :meth:`_escapes`, with the facts in ``static`` fixed. ``None``: the rule matches already."""
        if rule is not None:
            matches = self._possible(rule, static)
            if True not in matches:
                return False
            rule = rule if False in matches else None
        rivals: list[Rule] = []
        for each in earlier:
            matches = self._possible(each, static)
            if False not in matches:
                return False
            if True in matches:
                rivals.append(each)
        undecided = rule or next(iter(rivals), None)
        if undecided is None:
            return True
        names = [name for name in undecided.when.reads if name not in static]
        name = min(names, key=lambda each: (len(cells[each].values), each))
        return any(self._goes_on({**static, name: value}, rule, rivals, cells) for value in cells[name].values)

    def _possible(self, rule: Rule, static: Mapping[str, object]) -> frozenset[bool]:
        self._spend(rule)
        return rule.when.possible(static)

    def _spend(self, rule: Rule) -> None:
        size = self._sizes.get(rule.name)
        if size is None:
            size = self._sizes[rule.name] = 1 + operands_of(rule.when.statement)
        self._left -= size
        if self._left < 0:
            raise _OutOfBudgetError
