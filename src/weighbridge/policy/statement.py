"""The checked form of a ``when`` expression: statements about facts that hold, do not hold, or are unknown.

Kleene's logic: ``or`` holds if one side does, whatever the other is; ``and`` fails if one side does; a
comparison with an unknown reading is unknown, and so is its ``not``.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import reduce
from types import MappingProxyType
from typing import Any, Final, TypeAlias, assert_never

from weighbridge.policy.fact import Fact, Kind

Literal: TypeAlias = int | float | str | bool

#: The name of the one parameter of a compiled expression.
FACTS_NAME: Final = "facts"


class Truth(IntEnum):
    """Kleene's three values, ordered so that ``and`` is the least of them and ``or`` the greatest."""

    FALSE = 0
    UNKNOWN = 1
    TRUE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """One side of a comparison: a fact, or else a literal."""

    fact: Fact | None = None
    literal: Literal | None = None

    @property
    def kind(self) -> Kind:
        """What kind of value it is."""
        if self.fact is not None:
            return self.fact.kind
        if isinstance(self.literal, bool):
            return Kind.FLAG
        return Kind.TEXT if isinstance(self.literal, str) else Kind.NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A comparison's sign: as it is written, compares and compiles. ``orders``: it asks for more or less."""

    text: str
    apply: Callable[[Any, Any], bool]
    node: type[ast.cmpop]
    orders: bool = False


def _is_in(item: object, members: Any) -> bool:
    return item in members


IN: Final = Sign(text="in", apply=_is_in, node=ast.In)
SIGNS: Final[Mapping[str, Sign]] = MappingProxyType(
    {
        sign.text: sign
        for sign in (
            Sign(text="==", apply=operator.eq, node=ast.Eq),
            Sign(text="!=", apply=operator.ne, node=ast.NotEq),
            Sign(text="<", apply=operator.lt, node=ast.Lt, orders=True),
            Sign(text="<=", apply=operator.le, node=ast.LtE, orders=True),
            Sign(text=">", apply=operator.gt, node=ast.Gt, orders=True),
            Sign(text=">=", apply=operator.ge, node=ast.GtE, orders=True),
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two operands and a sign. A flag that stands alone is one that is compared with ``True``."""

    left: Operand
    sign: Sign
    right: Operand


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """An operand in a list of literals."""

    item: Operand
    members: tuple[Literal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class And:
    """Each of the parts holds."""

    parts: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Or:
    """One of the parts holds, or more."""

    parts: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """The part does not hold."""

    part: Statement


Statement: TypeAlias = Comparison | Membership | And | Or | Not


def reads(statement: Statement) -> frozenset[str]:
    """The dotted names of the facts in a statement."""
    match statement:
        case Comparison():
            return frozenset(fact.name for fact in _facts(statement.left, statement.right))
        case Membership():
            return frozenset(fact.name for fact in _facts(statement.item))
        case And() | Or():
            return frozenset[str]().union(*(reads(part) for part in statement.parts))
        case Not():
            return reads(statement.part)
        case _ as never:
            assert_never(never)


def truths(statement: Statement, static: Mapping[str, object]) -> frozenset[Truth]:
    """What a statement can come out as, given the facts that are known already, by their dotted names."""
    match statement:
        case Comparison(left=left, sign=sign, right=right):
            return _outcomes((left, right), static, sign.apply)
        case Membership(item=item, members=members):
            return _outcomes((item,), static, members.__contains__)
        case And():
            return reduce(_pairwise(min), (truths(part, static) for part in statement.parts))
        case Or():
            return reduce(_pairwise(max), (truths(part, static) for part in statement.parts))
        case Not():
            return frozenset(Truth(Truth.TRUE - truth) for truth in truths(statement.part, static))
        case _ as never:
            assert_never(never)


def open_reads(statement: Statement, static: Mapping[str, object], *, negated: bool = False) -> frozenset[str]:
    """The names of the facts by which a statement (``negated``: its ``not``) certainly holds or not.

    ``static`` are the facts that are known. A part that is decided by them names nothing, nor does any if the whole is.
    """
    certain = Truth.FALSE if negated else Truth.TRUE
    if len({truth is certain for truth in truths(statement, static)}) == 1:
        return frozenset()
    match statement:
        case Comparison() | Membership():
            return reads(statement) - static.keys()
        case And() | Or():
            return frozenset[str]().union(*(open_reads(part, static, negated=negated) for part in statement.parts))
        case Not():
            return open_reads(statement.part, static, negated=not negated)
        case _ as never:
            assert_never(never)


def code(statement: Statement, *, negated: bool = False) -> ast.expr:
    """Code that is ``True`` if a statement (``negated``: its ``not``) certainly holds, and else ``False``.

    ``not`` is pushed down to the comparisons: there an unknown reading makes both, it and its ``not``, fail.
    """
    match statement:
        case Comparison(left=left, sign=sign, right=right):
            compared: ast.expr = ast.Compare(_value(left), [sign.node()], [_value(right)])
            return _guarded(ast.UnaryOp(ast.Not(), compared) if negated else compared, (left, right))
        case Membership(item=item, members=members):
            # A display of constants compiles to one frozenset, so a long list costs what a short one does.
            display = ast.Set([ast.Constant(member) for member in members])
            sign_node = ast.NotIn() if negated else ast.In()
            return _guarded(ast.Compare(_value(item), [sign_node], [display]), (item,))
        case And() | Or():
            joint = ast.And() if isinstance(statement, And) is not negated else ast.Or()
            return ast.BoolOp(joint, [code(part, negated=negated) for part in statement.parts])
        case Not():
            return code(statement.part, negated=not negated)
        case _ as never:
            assert_never(never)


def _facts(*operands: Operand) -> list[Fact]:
    return [operand.fact for operand in operands if operand.fact is not None]


def _outcomes(
    operands: tuple[Operand, ...], static: Mapping[str, object], holds: Callable[..., bool]
) -> frozenset[Truth]:
    facts = _facts(*operands)
    if any(fact.name in static and static[fact.name] is None for fact in facts):
        return frozenset({Truth.UNKNOWN})
    if any(fact.name not in static for fact in facts):
        # It may turn out to be unknown too; that lies between the two, and makes nothing else possible.
        return frozenset({Truth.TRUE, Truth.FALSE})
    values = [static[each.fact.name] if each.fact is not None else each.literal for each in operands]
    return frozenset({Truth.TRUE if holds(*values) else Truth.FALSE})


def _pairwise(
    choose: Callable[[Truth, Truth], Truth],
) -> Callable[[frozenset[Truth], frozenset[Truth]], frozenset[Truth]]:
    return lambda one, other: frozenset(choose(left, right) for left in one for right in other)


def _value(operand: Operand) -> ast.expr:
    if operand.fact is None:
        return ast.Constant(operand.literal)
    value: ast.expr = ast.Name(FACTS_NAME, ast.Load())
    for part in operand.fact.name.split("."):
        value = ast.Attribute(value, part, ast.Load())
    return value


def _guarded(compared: ast.expr, operands: Iterable[Operand]) -> ast.expr:
    """The comparison, and before it that every reading in it is known."""
    guards: list[ast.expr] = [
        ast.Compare(_value(operand), [ast.IsNot()], [ast.Constant(None)])
        for operand in operands
        if operand.fact is not None and operand.fact.can_be_unknown
    ]
    return ast.BoolOp(ast.And(), [*guards, compared]) if guards else compared
