"""What is wrong with a table of a policy file, in the words of a person who writes one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from weighbridge.decision import Lane
from weighbridge.errors import PolicyError
from weighbridge.policy.expression import Unknown
from weighbridge.policy.places import Span
from weighbridge.policy.scanner import cut
from weighbridge.policy.table import ExampleTable, OtherwiseTable, PolicyTable, RuleTable
from weighbridge.policy.text import PolicyText
from weighbridge.policy.value_text import shown_given

_BOTH_LANES: Final = " or ".join(f'"{lane}"' for lane in Lane)
_BOTH_UNKNOWNS: Final = " or ".join(f'"{unknown}"' for unknown in Unknown)
#: What to write for a key that is missing, or is there in another form.
_WRITE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "schema": "write schema = 1 at the top of the file",
        "rule": "write [[rule]], in two brackets, above the keys of each rule",
        "otherwise": f"end the rules with [otherwise] and lane = {_BOTH_LANES}",
        "example": "write [[example]], in two brackets, above the keys of each example",
        "name": 'write name = "…": decisions and errors call the rule by it',
        "when": 'write when = "…", as in when = "weight >= 50"',
        "lane": f"write lane = {_BOTH_LANES}",
        "unknown": f"write unknown = {_BOTH_UNKNOWNS}",
        "extends": 'write extends = "…", as in extends = "by-weight", or leave it out',
        "reason": 'write reason = "…", or leave it out',
        "description": 'write description = "…", or leave it out',
        "facts": "write facts = { … }, as in facts = { weight = 80 }",
    }
)
#: The problem and the remedy for each type of fault that pydantic can find in these tables.
_WORDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "missing": ("it is missing", "{write}"),
        "literal_error": ("it is {given}", "this version of weighbridge reads schema = 1"),
        "string_type": ("it is {given}, and has to be text in quotes", "{write}"),
        "list_type": ("it is {given}, and there can be several", "{write}"),
        "model_type": ("it is {given}, and has to be a table", "{write}"),
        "dict_type": ("it is {given}, and has to be a table", "{write}"),
        "string_too_short": ("it is empty", "{write}"),
        "string_too_long": ("it has {length} characters", "{most} are the most"),
    }
)
#: Of a kind that no key is known to meet: a number that no machine holds, half a character.
_ANYTHING_ELSE: Final = ("it is {given}, which cannot be read", "{write}")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "": tuple(field.alias or name for name, field in PolicyTable.model_fields.items()),
        "rule": tuple(RuleTable.model_fields),
        "otherwise": tuple(OtherwiseTable.model_fields),
        "example": tuple(ExampleTable.model_fields),
    }
)


def fault_of(error: ValidationError, *, table: Mapping[str, Any], text: PolicyText) -> PolicyError:
    """The first fault that pydantic found; a misspelt key comes before what is missing because of it."""
    fault = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    problem, remedy = _words(fault)
    return text.error(_span(fault, text), where=_place(fault["loc"], table), problem=problem, remedy=remedy)


def otherwise_missing(text: PolicyText) -> PolicyError:
    """The error for a file that says nothing of the calls that no rule matches."""
    remedy = _WRITE["otherwise"]
    return text.error(text.places.last(), where="[otherwise]", problem="it is missing", remedy=remedy)


def rule_place(number: int, name: object) -> str:
    """How a message names a rule: by its name, or by its number (from 1) while it has none."""
    named = isinstance(name, str) and name and name.isprintable()
    return f"rule {name!r}" if named else f"rule {number}"


def _span(fault: ErrorDetails, text: PolicyText) -> Span:
    """What is to be marked: a key that is wrong, a value that is, or the table in which a key is missing."""
    match fault["type"]:
        case "extra_forbidden":
            return text.places.key(fault["loc"])
        case "missing":
            return text.places.key(fault["loc"][:-1])
        case _:
            return text.places.value(fault["loc"])


def _place(loc: tuple[int | str, ...], table: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for before, part in zip((None, *loc), loc, strict=False):
        if not isinstance(part, int):
            parts.append(cut(part) if part != "otherwise" else "[otherwise]")
        elif before == "rule":
            rule = table["rule"][part]
            parts[-1] = rule_place(part + 1, rule.get("name") if isinstance(rule, Mapping) else None)
        else:
            parts[-1] = f"{before} {part + 1}"
    return ", ".join(parts)


def _words(fault: ErrorDetails) -> tuple[str, str]:
    """The problem and the remedy."""
    value = fault["input"]
    if fault["type"] == "extra_forbidden":
        return "there is no such key", _instead(fault["loc"])
    if fault["type"] == "enum" and fault["loc"][-1] == "unknown":
        return f"it is {shown_given(value)}", _WRITE["unknown"]
    if fault["type"] == "enum":
        near = difflib.get_close_matches(str(value), list(Lane), n=1)
        return f"there is no lane {shown_given(value)}", f'did you mean "{near[0]}"?' if near else _WRITE["lane"]
    problem, remedy = _WORDS.get(fault["type"], _ANYTHING_ELSE)
    words = {
        "given": shown_given(value),
        "length": len(value) if isinstance(value, str) else 0,
        "most": fault.get("ctx", {}).get("max_length"),
        "write": _WRITE[next(str(part) for part in reversed(fault["loc"]) if isinstance(part, str))],
    }
    return problem.format_map(words), remedy.format_map(words)


def _instead(loc: tuple[int | str, ...]) -> str:
    """What to write in the place of a key that does not exist."""
    table = str(loc[0]) if len(loc) > 1 else ""
    key = str(loc[-1])
    near = difflib.get_close_matches(key, _KEYS[table], n=1)
    if near:
        return f"did you mean {near[0]}?"
    if key in _KEYS[""]:
        return f"{key} belongs at the top of the file, above the first line in brackets"
    return f"the keys here are {', '.join(_KEYS[table])}"
