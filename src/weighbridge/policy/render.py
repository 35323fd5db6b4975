"""A policy written as the text of a policy file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

from weighbridge.decision import Facts
from weighbridge.policy.expression import Unknown
from weighbridge.policy.rule import Example, Rule, RulePolicy

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LARGEST_SHORT: Final = 0xFFFF


def render(policy: RulePolicy) -> str:
    """TOML that :func:`~weighbridge.policy.file.parse_policy` reads as ``policy``, with another revision.

    Comments of the file that the policy was read from are not in it, and keys that have their default are left
    out. What a policy has from the one that it extends is not written out: the text extends it too.
    """
    parts = ["\n".join(_head(policy))]
    parts.extend("\n".join(_rule(rule)) for rule in policy.rules if not rule.origin)
    if not policy.otherwise_origin:
        reason = _optional("reason", policy.otherwise_reason)
        parts.append("\n".join(["[otherwise]", f"lane = {_text(policy.otherwise.lane)}", *reason]))
    parts.extend("\n".join(_example(example)) for example in policy.examples)
    return "\n\n".join(parts) + "\n"


def _head(policy: RulePolicy) -> Iterator[str]:
    yield "schema = 1"
    yield from _optional("description", policy.description)
    yield from _optional("extends", policy.extends)


def _rule(rule: Rule) -> Iterator[str]:
    yield "[[rule]]"
    yield f"name = {_text(rule.name)}"
    yield f"when = {_text(rule.when.source)}"
    if rule.when.unknown is not Unknown.NO_MATCH:
        yield f"unknown = {_text(rule.when.unknown)}"
    yield f"lane = {_text(rule.lane)}"
    yield from _optional("reason", rule.reason)


def _example(example: Example) -> Iterator[str]:
    yield "[[example]]"
    yield f"facts = {_table(example.facts, Facts())}"
    yield f"lane = {_text(example.lane)}"


def _optional(key: str, text: str) -> Iterator[str]:
    if text:
        yield f"{key} = {_text(text)}"


def _table(values: Any, defaults: Any) -> str:
    """A dataclass as a table of what differs from ``defaults``."""
    parts: list[str] = []
    for each in fields(values):
        value, default = getattr(values, each.name), getattr(defaults, each.name)
        if value != default:
            parts.append(f"{each.name} = {_table(value, default) if is_dataclass(value) else _value(value)}")
    return f"{{ {', '.join(parts)} }}" if parts else "{ }"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    return repr(value)


def _text(text: str) -> str:
    """A text in the quotes in which it reads best: as it stands if that is possible, with escapes if not."""
    if all(line.isprintable() for line in text.split("\n")):
        if "\n" not in text and "'" not in text and ('"' in text or "\\" in text):
            return f"'{text}'"
        if "\n" in text and "'''" not in text and not text.endswith("'"):
            return f"'''\n{text}'''"
    return f'"{"".join(_escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    # Of surrogates TOML has no escapes; one that got into a text gets out of it as it is.
    if char.isprintable() or "\ud800" <= char <= "\udfff":
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= _LARGEST_SHORT else f"\\U{ord(char):08x}"
