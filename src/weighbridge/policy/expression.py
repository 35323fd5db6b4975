"""A ``when`` expression: checked against the facts when it is loaded, compiled once, then true or false."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from weighbridge.decision import Facts
from weighbridge.policy.fact import FACTS
from weighbridge.policy.parser import Parser
from weighbridge.policy.scanner import one_line, scan
from weighbridge.policy.statement import FACTS_NAME, Statement, Truth, code, open_reads, reads, truths


class Unknown(StrEnum):
    """What a rule makes of a statement that is neither true nor false, since a reading is unknown."""

    NO_MATCH = "no match"
    MATCH = "match"


#: What counts as a match, for each of them.
_MATCHES: Final = {
    Unknown.NO_MATCH: frozenset({Truth.TRUE}),
    Unknown.MATCH: frozenset({Truth.TRUE, Truth.UNKNOWN}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A statement about facts, made by :meth:`parse`.

    ``source`` is the text as given, ``text`` the same on one line and without comments. ``reads`` are the
    dotted names of the facts in it. ``evaluate(facts)`` says whether it certainly holds: it gives ``True`` or
    ``False``, has no effect, and raises for no valid facts. A comparison with an unknown reading (``None``)
    is neither true nor false, and neither is its ``not``; ``weight >= 50 or loop.lag_ms > 20`` holds for a
    heavy call all the same. With ``unknown`` a match, ``evaluate`` says whether it may hold: it gives ``False``
    only where the statement certainly fails.
    """

    source: str
    unknown: Unknown = Unknown.NO_MATCH
    text: str = field(compare=False)
    reads: frozenset[str] = field(compare=False)
    evaluate: Callable[[Facts], bool] = field(compare=False, repr=False)
    statement: Statement = field(compare=False, repr=False)

    @classmethod
    def parse(cls, source: str, *, unknown: Unknown = Unknown.NO_MATCH) -> Expression:
        """The expression in ``source``: a small part of Python's, which Python's own parser never gets to see.

        :raises ExpressionError: with the place, for what is no statement about facts, or exceeds a limit.
        """
        tokens = scan(source)
        statement = Parser(source, tokens).statement()
        return cls(
            source=source,
            unknown=unknown,
            text=one_line(tokens),
            reads=reads(statement),
            evaluate=_compiled(statement, unknown),
            statement=statement,
        )

    def possible(self, static: Mapping[str, object]) -> frozenset[bool]:
        """What ``evaluate`` can answer, given some facts by their dotted names; the others may be anything."""
        return frozenset(truth in _MATCHES[self.unknown] for truth in truths(self.statement, static))

    def open_reads(self, static: Mapping[str, object]) -> frozenset[str]:
        """The dotted names of the facts by which ``evaluate`` answers one or the other, given those in ``static``."""
        # With an unknown that matches it answers whether the statement does not certainly fail.
        return open_reads(self.statement, static, negated=self.unknown is Unknown.MATCH)

    @property
    def can_be_unknown(self) -> bool:
        """Whether it reads a fact that can be unknown."""
        return any(FACTS[name].can_be_unknown for name in self.reads)


def _compiled(statement: Statement, unknown: Unknown) -> Callable[[Facts], bool]:
    if unknown is Unknown.MATCH:  # whatever does not certainly fail
        body: ast.expr = ast.UnaryOp(ast.Not(), code(statement, negated=True))
    else:
        body = code(statement)
    parameters = ast.arguments(posonlyargs=[], args=[ast.arg(FACTS_NAME)], kwonlyargs=[], kw_defaults=[], defaults=[])
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(parameters, body)))
    # Not the user's text: a tree of our own, of nothing but and, or, not, comparisons, facts and literals.
    function: Callable[[Facts], bool] = eval(  # noqa: S307
        compile(tree, "<when>", "eval"), {"__builtins__": {}}
    )
    return function
