"""A policy written as the text of a policy file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from weighbridge.decision import Facts
from weighbridge.policy.expression import Unknown
from weighbridge.policy.rule import Example, Rule, RulePolicy
from weighbridge.policy.value_text import toml_text, toml_value


def render(policy: RulePolicy) -> str:
    """TOML that :func:`~weighbridge.policy.file.parse_policy` reads as ``policy``, with another revision.

    Comments of the file that the policy was read from are not in it, and keys that have their default are left
    out. What a policy has from the one that it extends is not written out: the text extends it too.
    """
    parts = ["\n".join(_head(policy))]
    parts.extend("\n".join(_rule(rule)) for rule in policy.rules if not rule.origin)
    if not policy.otherwise_origin:
        reason = _optional("reason", policy.otherwise_reason)
        parts.append("\n".join(["[otherwise]", f"lane = {toml_text(policy.otherwise.lane)}", *reason]))
    parts.extend("\n".join(_example(example)) for example in policy.examples)
    return "\n\n".join(parts) + "\n"


def _head(policy: RulePolicy) -> Iterator[str]:
    yield "schema = 1"
    yield from _optional("description", policy.description)
    yield from _optional("extends", policy.extends)


def _rule(rule: Rule) -> Iterator[str]:
    yield "[[rule]]"
    yield f"name = {toml_text(rule.name)}"
    yield f"when = {toml_text(rule.when.source)}"
    if rule.when.unknown is not Unknown.NO_MATCH:
        yield f"unknown = {toml_text(rule.when.unknown)}"
    yield f"lane = {toml_text(rule.lane)}"
    yield from _optional("reason", rule.reason)


def _example(example: Example) -> Iterator[str]:
    yield "[[example]]"
    yield f"facts = {toml_value(_changed(example.facts, Facts()))}"
    yield f"lane = {toml_text(example.lane)}"


def _optional(key: str, text: str) -> Iterator[str]:
    if text:
        yield f"{key} = {toml_text(text)}"


def _changed(values: Any, defaults: Any) -> dict[str, object]:
    """A dataclass as a table of what differs from ``defaults``."""
    pairs = ((each.name, getattr(values, each.name), getattr(defaults, each.name)) for each in fields(values))
    return {
        name: _changed(value, default) if is_dataclass(value) else value
        for name, value, default in pairs
        if value != default
    }
