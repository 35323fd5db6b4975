"""Where in a TOML text each table, key and value stands, so that an error can point at it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

#: The way to a value: keys, and numbers (from 0) in arrays, as in ``("rule", 0, "when")``.
Path: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_COMMENT: Final = re.compile(r"#[^\n]*")
_BARE_KEY: Final = re.compile(r"[^\s.=\]\"']+")
#: Numbers, flags and dates; between the date and the time of one value there may be a space.
_BARE_VALUE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")
#: Strings by their opening quotes: a backslash in basic ones hides the quote behind it, and up to two quotes may
#: stand right before the three that close a multi-line one.
_STRINGS: Final = {
    '"""': re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*?"{3,5}', re.DOTALL),
    "'''": re.compile(r"'''(?:[^']|'{1,2}(?!'))*?'{3,5}", re.DOTALL),
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    "'": re.compile(r"'[^'\n]*'"),
}
_WORDS: Final = re.compile("|".join(each.pattern for each in (*_STRINGS.values(), _COMMENT)), re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text: where it starts, in characters from 0, and how long it is."""

    offset: int
    length: int = 1


class Places:
    """The spans of all keys and values of ``text``, in which ``\\r\\n`` counts as one character, as in tomllib."""

    def __init__(
        self, text: str, keys: Mapping[Path, Span], values: Mapping[Path, Span], written: Mapping[int, Span]
    ) -> None:
        self.text = text
        self.keys = keys
        self.values = values
        self._written = written

    def line(self, span: Span) -> int:
        """The number of its line, from 1."""
        return self.text.count("\n", 0, span.offset) + 1

    def key(self, path: Path) -> Span:
        """A key, or a table's header in brackets; of what is not in the text, the table where it would be."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.keys:
                return self.keys[path[:length]]
        return next(iter(self.keys.values()), Span(0))

    def value(self, path: Path) -> Span:
        """What stands behind a key; for a table with a header, and for what is not in the text, as :meth:`key`."""
        return self.values.get(path) or self.key(path)

    def last(self) -> Span:
        """The key or header that the text ends with."""
        return max(self.keys.values(), key=lambda span: span.offset, default=Span(0))

    def key_before(self, stop: int) -> Span | None:
        """The key, dots and all, whose value or whose header stops here: also one that the table has already."""
        return self._written.get(stop)

    def inside(self, path: Path, offset: int, length: int) -> Span | None:
        """A part of a text value; ``None`` if escapes in it make the text and the value differ."""
        value = self.value(path)
        raw = self.text[value.offset : value.offset + value.length]
        if raw[:1] == '"' and "\\" in raw:
            return None
        quotes = raw[:3] if raw[:3] in _STRINGS and len(raw) >= len("''''''") else raw[:1]
        start = value.offset + len(quotes)
        if len(quotes) > 1 and self.text.startswith("\n", start):
            start += 1  # the line break right after the opening quotes is no part of the value
        return Span(start + offset, length)


def without_words(text: str) -> str:
    """The text of the same length, with blanks in the place of what stands in texts and comments."""
    return _WORDS.sub(lambda words: re.sub(r"[^\n]", " ", words[0]), text)


def locate(text: str) -> Places:
    """The places of a text that tomllib accepts. It never raises: what it does not understand has no place."""
    scan = _Scan(text.replace("\r\n", "\n"))
    # An error without its exact place is better than another error in its stead.
    with contextlib.suppress(RecursionError, _LostError):
        scan.document()
    return Places(scan.text, scan.keys, scan.values, scan.written)


class _LostError(Exception):
    """What stands here is not TOML."""


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.keys: dict[Path, Span] = {}
        self.values: dict[Path, Span] = {}
        #: Each key as it is written, by where what belongs to it stops.
        self.written: dict[int, Span] = {}
        self._at = 0
        #: How many tables each array of tables has so far.
        self._counts: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self.text):
            if self.text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Path:
        start = self._at
        brackets = 2 if self.text.startswith("[[", start) else 1
        self._at += brackets
        parts = self._dotted()
        names = [name for name, _ in parts]
        self.written[self._at] = _whole(parts)
        self._at += brackets
        span = Span(start, self._at - start)
        path: Path = ()
        for name in names[:-1]:
            path = self._latest((*path, name))
            self.keys.setdefault(path, span)
        path = (*path, names[-1])
        self.keys.setdefault(path, span)
        if brackets == 1:
            return path
        number = self._counts.get(path, 0)
        self._counts[path] = number + 1
        self.keys[(*path, number)] = span
        return (*path, number)

    def _latest(self, path: Path) -> Path:
        """The table that a name in a header means: of an array of tables its last."""
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _pair(self, table: Path) -> None:
        path = table
        parts = self._dotted()
        for name, span in parts:
            path = (*path, name)
            self.keys.setdefault(path, span)
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)
        self.written[self._at] = _whole(parts)

    def _dotted(self) -> list[tuple[str, Span]]:
        parts: list[tuple[str, Span]] = []
        while not parts or self.text.startswith(".", self._at):
            self._at += bool(parts)
            self._skip(_SPACE)
            start = self._at
            quote = self.text[start : start + 1]
            self._skip(_STRINGS[quote] if quote in ("'", '"') else _BARE_KEY, needed=True)
            written = self.text[start : self._at]
            parts.append((_name(written), Span(start, len(written))))
            self._skip(_SPACE)
        return parts

    def _value(self, path: Path) -> None:
        start = self._at
        opening = self.text[start : start + 1]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        elif opening in ("'", '"'):
            self._skip(_STRINGS[opening * 3 if self.text.startswith(opening * 3, start) else opening], needed=True)
        else:
            self._skip(_BARE_VALUE, needed=True)
        self.values[path] = Span(start, self._at - start)

    def _array(self, path: Path) -> None:
        number = 0
        self._at += 1
        self._skip(_BLANK)
        while not self.text.startswith("]", self._at):
            element = (*path, number)
            self._value(element)
            self.keys[element] = self.values[element]
            number += 1
            self._comma("]")
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip(_BLANK)
        while not self.text.startswith("}", self._at):
            self._pair(path)
            self._comma("}")
        self._at += 1

    def _comma(self, closing: str) -> None:
        self._skip(_BLANK)
        if not self.text.startswith(closing, self._at):
            self._expect(",")
            self._skip(_BLANK)

    def _expect(self, sign: str) -> None:
        if not self.text.startswith(sign, self._at):
            raise _LostError
        self._at += len(sign)

    def _skip(self, pattern: re.Pattern[str], *, needed: bool = False) -> None:
        found = pattern.match(self.text, self._at)
        if found is not None:
            self._at = found.end()
        elif needed:
            raise _LostError


def _whole(parts: list[tuple[str, Span]]) -> Span:
    """From the first part of a dotted key to its last."""
    (_, first), (_, last) = parts[0], parts[-1]
    return Span(first.offset, last.offset + last.length - first.offset)


def _name(written: str) -> str:
    """The key that is written so: bare, or in quotes."""
    if written[0] == "'":
        return written[1:-1]
    return _ESCAPE.sub(_unescaped, written[1:-1]) if written[0] == '"' else written


def _unescaped(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2] or escape[3]
    return chr(int(digits, 16)) if digits else _ESCAPED.get(escape[4], escape[4])
