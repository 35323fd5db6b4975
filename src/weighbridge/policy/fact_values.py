"""Facts as one flat table, by the dotted names that policies write, and changed by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weighbridge.decision import Facts
from weighbridge.policy.fact import FACTS


def values_of(facts: Facts) -> dict[str, object]:
    """Every fact's value by its dotted name, in the order of :data:`~weighbridge.policy.fact.FACTS`."""
    values: dict[str, object] = {}
    for name in FACTS:
        value: object = facts
        for part in name.split("."):
            value = getattr(value, part)
        values[name] = value
    return values


def changed(facts: Facts, values: Mapping[str, object]) -> Facts:
    """``facts``, with other values for those that are named, by their dotted names."""
    top: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, part = name.rpartition(".")
        into = groups.setdefault(group, {}) if group else top
        into[part] = value
    return replace(facts, **top, **{group: replace(getattr(facts, group), **parts) for group, parts in groups.items()})
