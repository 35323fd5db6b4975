"""The facts of an example, from the table that a policy file writes them in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, assert_never, get_type_hints

from weighbridge.decision import Facts
from weighbridge.errors import PolicyError
from weighbridge.policy.fact import FACTS, GROUPS, Fact, Kind, remedy_for
from weighbridge.policy.scanner import MAX_NUMBER
from weighbridge.policy.value_text import shown_given

#: The one number among the facts that may be negative.
SIGNED: Final = frozenset({"priority"})


def facts_from(table: Mapping[str, object], *, source: str, where: str) -> Facts:
    """Facts with the values of ``table``, whose readings may be nested (``in_process = { waiting = 9 }``).

    What is not named keeps its default. ``source`` and ``where`` are for the error. A reading has one spelling: as one
    key with a dot in it, it is refused, as the schema does.

    :raises PolicyError: for an unknown fact, and for a value that a fact cannot have, or no expression can name.
    """
    top: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in _flat(table):
        problem, remedy = _fault(name, value, quoted=name in table and "." in name)
        if problem:
            raise PolicyError(source=source, where=f"{where}, {name}", problem=problem, remedy=remedy)
        group, _, part = name.rpartition(".")
        into = groups.setdefault(group, {}) if group else top
        into[part] = tuple(value) if isinstance(value, list) else value
    readings = get_type_hints(Facts)
    return Facts(**top, **{group: readings[group](**parts) for group, parts in groups.items()})


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, Mapping) and name in GROUPS:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _fault(name: str, value: object, *, quoted: bool) -> tuple[str, str]:
    """What is wrong with a fact of an example, and the remedy; nothing if it is right."""
    if name in GROUPS:
        part = GROUPS[name][0].rpartition(".")[2]
        return f"it is {shown_given(value)}, and has parts", f"write {name} = {{ {part} = … }}"
    fact = FACTS.get(name)
    if fact is None:
        return "there is no such fact", remedy_for(name)
    if quoted:
        return "the quotes make its name one key", f"write it without them: {name} = …"
    return _misfit(fact, value)


def _misfit(fact: Fact, value: object) -> tuple[str, str]:
    """The same, of the value alone."""
    if not _fits(fact, value):
        return f"it is {shown_given(value)}", f"give {_needed(fact)}"
    if isinstance(value, int | float) and value > MAX_NUMBER:
        return f"it is {shown_given(value)}, which is too large", f"the largest number is {MAX_NUMBER:_}"
    if isinstance(value, int | float) and value < -MAX_NUMBER:
        return f"it is {shown_given(value)}, which is too low", f"the lowest number is {-MAX_NUMBER:_}"
    return "", ""


def _fits(fact: Fact, value: object) -> bool:
    match fact.kind:
        case Kind.NUMBER:
            if isinstance(value, bool) or not isinstance(value, int if fact.whole else int | float):
                return False
            return value >= (-math.inf if fact.name in SIGNED else 0)
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.FLAG:
            return isinstance(value, bool)
        case Kind.TAGS:
            return isinstance(value, list) and all(isinstance(tag, str) for tag in value)
        case _ as never:
            assert_never(never)


def _needed(fact: Fact) -> str:
    match fact.kind:
        case Kind.NUMBER:
            return ("a whole number" if fact.whole else "a number") + ("" if fact.name in SIGNED else " ≥ 0")
        case Kind.TEXT:
            return "text in quotes"
        case Kind.FLAG:
            return "true or false"
        case Kind.TAGS:
            return 'a list of texts, as in ["billing"]'
        case _ as never:
            assert_never(never)
