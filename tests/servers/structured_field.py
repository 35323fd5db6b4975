"""A strict reader of structured fields (RFC 9651, section 4.2): lists of tokens with parameters."""

from __future__ import annotations

import re
from typing import Final

Value = str | int | float
Member = tuple[str, dict[str, Value]]

_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_KEY: Final = re.compile(r"[a-z*][a-z0-9_.*-]*")
_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_DISPLAY: Final = re.compile(r'%"((?:[ !#$&-~]|%[0-9a-f]{2})*)"')
_NUMBER: Final = re.compile(r"-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})(?![0-9.])")


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def must(self, pattern: re.Pattern[str]) -> str:
        found = self.take(pattern)
        if found is None:
            raise ValueError(f"no {pattern.pattern} at {self._text[self._at :]!r}")
        return found[0]

    @property
    def ended(self) -> bool:
        return self._at == len(self._text)


def members_of(value: str) -> list[Member]:
    """The members of a list.

    :raises ValueError: if it is none.
    """
    reader, members = _Reader(value), []
    while True:
        members.append((reader.must(_TOKEN), _parameters(reader)))
        if reader.ended:
            return members
        reader.must(re.compile(r"[ \t]*,[ \t]*"))


def _parameters(reader: _Reader) -> dict[str, Value]:
    found: dict[str, Value] = {}
    while reader.take(re.compile(r"; *")):
        key = reader.must(_KEY)
        reader.must(re.compile("="))
        found[key] = _bare_item(reader)
    return found


def _bare_item(reader: _Reader) -> Value:
    if string := reader.take(_STRING):
        return re.sub(r"\\(.)", r"\1", string[1])
    if display := reader.take(_DISPLAY):
        raw = re.sub(rb"%(..)", lambda byte: bytes.fromhex(byte[1].decode()), display[1].encode("ascii"))
        return raw.decode("utf-8")
    if number := reader.take(_NUMBER):
        return float(number[0]) if "." in number[0] else int(number[0])
    return reader.must(_TOKEN)
