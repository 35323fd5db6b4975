"""An excerpt: one line of a text with carets under the place that an error is about."""

from __future__ import annotations

import unicodedata
from typing import Final

#: The widest line that an excerpt shows, in characters.
EXCERPT_WIDTH: Final = 100


def marked(text: str, *, offset: int, length: int = 1) -> str:
    """The line of ``text`` at ``offset`` with carets under ``length`` characters; a long line is cut.

    ``offset`` counts characters from 0. A place that goes on in the next line is marked up to the end of its
    first. A tab is shown as one space and what cannot be printed as U+FFFD, so that the carets stand right.
    """
    start = text.rfind("\n", 0, offset) + 1
    line = "".join(
        char if char.isprintable() else " " if char.isspace() else "\ufffd"
        for char in text[start:].partition("\n")[0].rstrip()
    )
    column = min(offset - start, len(line))
    indent = len(line) - len(line.lstrip())
    first = max(min(indent, column), column - EXCERPT_WIDTH // 2)
    last = first + EXCERPT_WIDTH
    before = ("…" if first > indent else "") + line[first:column]
    after = line[column:last] + ("…" if last < len(line) else "")
    carets = max(1, _columns(line[column : min(column + length, last)]))
    return f"    {before}{after}\n    {' ' * _columns(before)}{'^' * carets}"


def _columns(text: str) -> int:
    """How many columns a terminal gives to ``text``."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
