"""A dead letter without the values of its call's arguments, as far as they can be told from other text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from weighbridge.lanes.queue.dead_letters import ERROR_LIMIT, DeadLetter
from weighbridge.lanes.queue.message_options import TRACEBACK_LIMIT
from weighbridge.lanes.queue.stream_message import UnreadableError, read_message

HIDDEN: Final = "<hidden>"
#: Values of so many characters are hidden inside words too. Shorter ones only where they stand alone, and not in the
#: lines of a traceback that quote code: or hardly a line of it could be read.
LONG: Final = 6
#: A lone character says too little to be a secret, and is everywhere.
SHORT: Final = 2


def arguments_of(letter: DeadLetter) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments as they stand in the message; ``None`` if it is no message."""
    try:
        message = read_message(letter.body)
    except UnreadableError:
        return None
    return list(message.args), dict(message.kwargs)


class Redaction:
    """Hides the argument values of one letter in texts about it."""

    def __init__(self, letter: DeadLetter) -> None:
        found = arguments_of(letter)
        texts = {text for value in _leaves(found) for text in _written(value)} if found else set()
        ordered = sorted(texts, key=len, reverse=True)
        self._cuttable = [text for text in ordered if len(text) > LONG]
        self._long = _pattern([re.escape(text) for text in ordered if len(text) >= LONG])
        self._short = _pattern([rf"(?<!\w){re.escape(text)}(?!\w)" for text in ordered if SHORT <= len(text) < LONG])

    def of(self, text: str) -> str:
        """The text of an error, without the values."""
        if len(text) >= ERROR_LIMIT:  # it was cut there, in the middle of a value perhaps
            cut = max((_cut_at_end(value, text) for value in self._cuttable), default=0)
            text = f"{text[: len(text) - cut]}{HIDDEN}" if cut else text
        return _hide(self._short, _hide(self._long, text))

    def of_traceback(self, text: str) -> str:
        """A traceback without the values; the lines that name and quote code keep what is short."""
        if len(text) >= TRACEBACK_LIMIT:  # as above, and only its end was kept
            cut = max((_cut_at_begin(value, text) for value in self._cuttable), default=0)
            text = f"{HIDDEN}{text[cut:]}" if cut else text
        lines: list[str] = []
        quoted = False
        for line in _hide(self._long, text).split("\n"):
            place = line.startswith('  File "')
            lines.append(line if place or (quoted and line.startswith("    ")) else _hide(self._short, line))
            quoted = place
        return "\n".join(lines)


def _cut_at_end(value: str, text: str) -> int:
    """How many characters of the begin of ``value`` the text ends with."""
    longest = min(len(value) - 1, len(text))
    return next((size for size in range(longest, LONG - 1, -1) if text.endswith(value[:size])), 0)


def _cut_at_begin(value: str, text: str) -> int:
    """How many characters of the end of ``value`` the text begins with."""
    longest = min(len(value) - 1, len(text))
    return next((size for size in range(longest, LONG - 1, -1) if text.startswith(value[-size:])), 0)


def _hide(pattern: re.Pattern[str] | None, text: str) -> str:
    return text if pattern is None else pattern.sub(HIDDEN, text)


def _pattern(parts: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(parts)) if parts else None


def _leaves(value: Any) -> Iterator[str | int | float]:
    """All that may be data in JSON: texts, numbers, and the keys of objects."""
    match value:
        case dict():
            for key, inner in value.items():
                yield key
                yield from _leaves(inner)
        case list() | tuple():
            for inner in value:
                yield from _leaves(inner)
        case bool() | None:
            pass
        case str() | int() | float():
            yield value


def _written(value: str | float) -> set[str]:
    """How a value may stand in a text: as it is, and as Python or JSON quote it."""
    if not isinstance(value, str):
        return {str(value)}
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1]} | {line for line in value.splitlines() if line}
