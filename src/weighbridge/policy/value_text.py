"""A fact's value as text: as a policy file writes it, and a reading without a value as unknown."""

from __future__ import annotations

from weighbridge.policy.scanner import cut


def shown_value(value: object) -> str:
    """A value of a fact, short enough for a message."""
    match value:
        case None:
            return "unknown"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.12g}"
        case str():
            return f'"{cut(value)}"'
        case tuple() | list():
            return f"[{', '.join(shown_value(each) for each in value)}]"
        case _:
            return str(value)
