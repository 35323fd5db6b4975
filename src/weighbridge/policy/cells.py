"""Cells: for each fact the few values that stand for all, as far as some expressions can tell them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, pairwise
from types import MappingProxyType
from typing import Final, TypeAlias, TypeGuard, assert_never

from weighbridge.policy.example import SIGNED
from weighbridge.policy.fact import FACTS, Fact, Kind
from weighbridge.policy.scanner import MAX_NUMBER
from weighbridge.policy.statement import And, Comparison, Literal, Membership, Not, Operand, Or, Statement

#: So many tags are tried in each combination.
MAX_TAGS: Final = 6
#: Of more tags no more combinations than this are tried.
MOST_COMBINATIONS: Final = 1_000
#: How a text is called that is none of those that an expression names.
OTHER: Final = "other"

Number: TypeAlias = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The values to try for one fact. ``complete``: they stand for all; otherwise there would be too many."""

    values: tuple[object, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Facts that are compared with each other, and all literals that one of them is compared with."""

    facts: tuple[Fact, ...]
    literals: frozenset[Literal]


def cells_of(
    statements: Iterable[Statement], *, around: Mapping[str, object] = MappingProxyType({})
) -> Mapping[str, Cells]:
    """The values to try for each fact in ``statements``, by its dotted name, in the order of the facts.

    Whatever values the facts have, there is a combination of these values for which each comparison in
    ``statements`` comes out alike. So what holds for no combination of them holds for no facts.

    :param around: The values of some facts: they are among the values to try, and in each gap between the literals
        the values are taken that are nearest to them.
    """
    cells: dict[str, Cells] = {}
    for group in _groups(statements, around):
        texts = _texts(group)
        for fact in group.facts:
            match fact.kind:
                case Kind.NUMBER:
                    found = _numbers(fact, group, around.get(fact.name))
                case Kind.TEXT:
                    found = Cells(values=texts)
                case Kind.FLAG:
                    found = Cells(values=(False, True))
                case Kind.TAGS:
                    found = _tags(texts if len(group.facts) > 1 else texts[:-1], around.get(fact.name))
                case _ as never:
                    assert_never(never)
            unknown = (None,) if fact.can_be_unknown else ()
            cells[fact.name] = Cells(values=(*found.values, *unknown), complete=found.complete)
    return {name: cells[name] for name in FACTS if name in cells}


def operands_of(statement: Statement) -> int:
    """How many facts and literals stand in a statement: what it costs to go through it, roughly."""
    return sum(len(facts) + len(literals) for facts, literals in _comparisons(statement))


# -- which facts are compared with what ---------------------------------------------------------------------


def _groups(statements: Iterable[Statement], around: Mapping[str, object]) -> Iterator[_Group]:
    links: dict[str, set[str]] = {}
    literals: dict[str, set[Literal]] = {}
    for facts, compared in (each for statement in statements for each in _comparisons(statement)):
        for name in facts:
            links.setdefault(name, set()).update(facts)
            literals.setdefault(name, set()).update(compared)
    while links:
        names = _linked(next(iter(links)), links)
        members = tuple(FACTS[name] for name in FACTS if name in names)
        for name in names:
            del links[name]
        own = {value for name in names if _is_cut(value := around.get(name))}
        yield _Group(facts=members, literals=frozenset(own.union(*(literals[name] for name in names))))


def _is_cut(value: object) -> TypeGuard[Literal]:
    """Whether a fact's value can stand beside the literals, none of which is larger than this."""
    return isinstance(value, str) or (isinstance(value, int | float) and -MAX_NUMBER <= value <= MAX_NUMBER)


def _linked(start: str, links: Mapping[str, set[str]]) -> set[str]:
    found, todo = {start}, [start]
    while todo:
        new = links[todo.pop()] - found
        found |= new
        todo.extend(new)
    return found


def _comparisons(statement: Statement) -> Iterator[tuple[list[str], list[Literal]]]:
    """The facts and the literals of each comparison in a statement."""
    match statement:
        case Comparison(left=left, right=right):
            yield _sides((left, right))
        case Membership(item=item, members=members):
            facts, literals = _sides((item,))
            yield facts, [*literals, *members]
        case And() | Or():
            for part in statement.parts:
                yield from _comparisons(part)
        case Not():
            yield from _comparisons(statement.part)
        case _ as never:
            assert_never(never)


def _sides(operands: Sequence[Operand]) -> tuple[list[str], list[Literal]]:
    facts = [operand.fact.name for operand in operands if operand.fact is not None]
    return facts, [operand.literal for operand in operands if operand.literal is not None]


# -- numbers ------------------------------------------------------------------------------------------------


def _numbers(fact: Fact, group: _Group, near: object) -> Cells:
    """Every literal, and in each gap as many values as there are facts that may lie there in any order."""
    count = len(group.facts)
    cuts: set[Number] = {each for each in group.literals if isinstance(each, int | float)}
    signed = [each.name in SIGNED for each in group.facts]
    if not all(signed) or not cuts:
        cuts.add(0)  # the lowest value of most facts; of the others, something to begin with
    centre = near if isinstance(near, int | float) else None
    # A number with a fraction may lie between two whole ones, so where both kinds are compared the whole
    # numbers of a gap divide it further.
    points = sorted(cuts)
    wholes = any(each.whole for each in group.facts)
    if wholes:
        inside = [
            value
            for low, high in pairwise([-math.inf, *points, math.inf])
            for value in _whole_between(low, high, count, centre)
        ]
        points = sorted({*points, *inside})
    complete = True
    if not fact.whole:
        between: list[Number] = []
        for low, high in pairwise([-math.inf, *points, math.inf]):
            if high > 0:
                values = _between(low, high, count, centre)
                complete = complete and len(values) == count
                between.extend(values)
        points = sorted({*points, *between})
    lowest = -math.inf if fact.name in SIGNED else 0
    found = [value for value in points if value >= lowest and (not fact.whole or value == math.floor(value))]
    return Cells(values=tuple(int(value) if fact.whole else value for value in found), complete=complete)


def _whole_between(low: Number, high: Number, count: int, centre: Number | None) -> list[int]:
    """The first ``count`` whole numbers between two numbers, from the end that is nearer to ``centre``."""
    if low == -math.inf or (high != math.inf and centre is not None and high <= centre):
        first = math.ceil(high) - 1
        return [value for value in range(first, first - count, -1) if value > low]
    first = math.floor(low) + 1
    return [value for value in range(first, first + count) if value < high]


def _between(low: Number, high: Number, count: int, centre: Number | None) -> list[Number]:
    """``count`` numbers between two numbers: round ones if there is room for them, fewer if there are not so many."""
    from_above = low == -math.inf or (high != math.inf and centre is not None and high <= centre)
    steps = (
        [high - step for step in range(1, count + 1)] if from_above else [low + step for step in range(1, count + 1)]
    )
    if low < min(steps) and max(steps) < high and len(set(steps)) == count:
        return steps
    if high == math.inf:
        return [low * 2**step for step in range(1, count + 1)]  # so large that adding 1 changes nothing
    spread = {low + (high - low) * part / (count + 1) for part in range(1, count + 1)}
    return [value for value in spread if low < value < high]


# -- texts and tags -----------------------------------------------------------------------------------------


def _texts(group: _Group) -> tuple[str, ...]:
    """Every literal, and as many others as there are texts that may differ from them and from each other."""
    named = sorted(each for each in group.literals if isinstance(each, str))
    names = (OTHER if number == 1 else f"{OTHER} {number}" for number in range(1, len(group.facts) + len(named) + 1))
    others = [name for name in names if name not in named]
    return (*named, *others[: max(1, sum(fact.kind is Kind.TEXT for fact in group.facts))])


def _tags(mentioned: Sequence[str], present: object) -> Cells:
    """Every combination of the tags that are mentioned; those ``present`` that are not mentioned stay."""
    there = tuple(present) if isinstance(present, tuple | list) else ()
    if len(mentioned) > MAX_TAGS:
        return Cells(values=tuple(dict.fromkeys(islice(_near(mentioned, there), MOST_COMBINATIONS))), complete=False)
    others = [tag for tag in there if tag not in mentioned]
    values = [(*others, *chosen) for size in range(len(mentioned) + 1) for chosen in combinations(mentioned, size)]
    return Cells(values=tuple(values))


def _near(mentioned: Sequence[str], there: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Combinations of many tags: the one that is there, without any, with all, then those that differ in one or two."""
    named, had = frozenset(mentioned), frozenset(there)
    absent = [tag for tag in mentioned if tag not in had]
    yield there
    yield tuple(tag for tag in there if tag not in named)
    yield (*there, *absent)
    for count in (1, 2):
        for turned in combinations([*(tag for tag in there if tag in named), *absent], count):
            yield (*(tag for tag in there if tag not in turned), *(tag for tag in turned if tag not in had))
