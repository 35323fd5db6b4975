"""The facts by dotted name, as policies write them: what kind each is, and whether it can be unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from types import MappingProxyType, NoneType
from typing import Any, Final, get_args, get_type_hints

from weighbridge.decision import Facts, Origin


class Kind(StrEnum):
    """What a fact or a literal is, in the words of the error messages."""

    NUMBER = "a number"
    TEXT = "text"
    FLAG = "true or false"
    TAGS = "a list of tags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact. ``whole``: no fraction. ``can_be_unknown``: a reading that may be ``None``.

    ``default`` is its value where nothing is told of it; ``origin`` and ``meaning`` are what the reference says.
    """

    name: str
    kind: Kind
    whole: bool
    can_be_unknown: bool
    default: object
    origin: Origin
    meaning: str


def _walk(table: type[Any], prefix: str = "") -> Iterator[Fact]:
    hints = get_type_hints(table)
    for field in fields(table):
        name, hint = field.name, hints[field.name]
        if is_dataclass(hint):
            yield from _walk(hint, f"{prefix}{name}.")  # type: ignore[arg-type]  # a hint is the class itself
        else:
            known = [part for part in get_args(hint) or (hint,) if part is not NoneType]
            kind = Kind.TAGS if hint == Sequence[str] else _KINDS[known[0]]
            can_be_unknown = NoneType in get_args(hint)
            if not field.metadata.get("meaning"):
                # A mistake of ours, found as soon as anything is imported: what policies may ask has to be described.
                raise TypeError(f"the fact {prefix}{name} has no meaning: declare it as those beside it are")
            yield Fact(
                name=prefix + name,
                kind=kind,
                whole=known[0] is int,
                can_be_unknown=can_be_unknown,
                default=field.default,
                origin=field.metadata["origin"],
                meaning=field.metadata["meaning"],
            )


_KINDS: Final[dict[object, Kind]] = {int: Kind.NUMBER, float: Kind.NUMBER, str: Kind.TEXT, bool: Kind.FLAG}

#: Every fact by its dotted name, in the order of :class:`~weighbridge.decision.Facts`.
FACTS: Final[Mapping[str, Fact]] = MappingProxyType({fact.name: fact for fact in _walk(Facts)})
#: The readings that have parts, and the dotted names of their parts.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        group: tuple(name for name in FACTS if name.startswith(f"{group}."))
        for group in dict.fromkeys(name.partition(".")[0] for name in FACTS if "." in name)
    }
)

#: What people look for among the facts, and where it is instead.
_ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "durable": "a durable task is always queued, before any policy is asked",
        "shares_memory": "a task that shares memory always stays, before any policy is asked",
        "task": "did you mean name?",
        "true": "write True",
        "false": "write False",
        "None": "for unknown readings a rule has the key unknown, so nothing has to ask for None",
        "null": "for unknown readings a rule has the key unknown, so nothing has to ask for it",
    }
)


def remedy_for(name: str) -> str:
    """What to write instead of ``name``, which is no fact."""
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    if name in GROUPS:
        return f"name a part of it: {_either(GROUPS[name])}"
    if name.rpartition(".")[0] in FACTS:
        return f"{name.rpartition('.')[0]} is {FACTS[name.rpartition('.')[0]].kind} and has no parts"
    group, _, last = name.rpartition(".")
    if group in GROUPS:
        parts = {part.removeprefix(f"{group}."): part for part in GROUPS[group]}
        near = difflib.get_close_matches(last, parts, n=1)
        return f"did you mean {parts[near[0]]}?" if near else f"its parts are {', '.join(parts.values())}"
    close = [fact for fact in FACTS if fact.rpartition(".")[2] == last]
    close = close or difflib.get_close_matches(name, FACTS, n=1)
    if not close:
        close = [fact for fact in FACTS if difflib.get_close_matches(last, [fact.rpartition(".")[2]])]
    return f"did you mean {_either(close)}?" if close else f"the facts are {', '.join(FACTS)}"


def _either(names: Sequence[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} or {last}" if before else last
