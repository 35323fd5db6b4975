"""Values as text: in full as TOML writes them, and short in messages, of a fact, of a file, or of somebody's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from weighbridge.policy.scanner import cut

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LARGEST_SHORT: Final = 0xFFFF


# -- in full, as TOML ---------------------------------------------------------------------------------------


def toml_value(value: object) -> str:
    """A value as a policy file writes it: flag, number, text, or a list or a table of those, whose keys are bare."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        parts = ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items())
        return f"{{ {parts} }}" if parts else "{ }"
    return repr(value)


def toml_text(text: str) -> str:
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


# -- short, in messages -------------------------------------------------------------------------------------


def shown_value(value: object) -> str:
    """A value of a fact, as a policy file writes it, and a reading without a value as unknown."""
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


def shown_given(value: object) -> str:
    """What a file gives where something else belongs: what kind of thing it is, if it is no single value."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return repr(cut(value))
    return cut(str(value).lower() if isinstance(value, bool) else str(value))


def shown_object(value: object) -> str:
    """An object of somebody's own as Python writes it, or what its type is called if it fails at that."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # an error is about to be told, and not this one
        return f"a {type(value).__qualname__}"
