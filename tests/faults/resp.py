"""Where a value of Redis's protocol ends, and what a command says: enough of it for a proxy that eats replies."""

from __future__ import annotations

from typing import Final

_LINES: Final = b"+-:_,#("
_STRINGS: Final = b"$=!"
_LISTS: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}


def end_of(data: bytes | bytearray, start: int = 0) -> int | None:
    """The index after the value that begins at ``start``; ``None`` if it is not complete yet."""
    left = 1  # values that are still to come; nested ones are counted into it, so nothing recurses
    while left:
        line_end = data.find(b"\r\n", start)
        if line_end < 0:
            return None
        kind, after = data[start], line_end + 2
        left -= 1
        if kind in _STRINGS:
            length = int(data[start + 1 : line_end])
            after += max(0, length + 2) if length >= 0 else 0
            if after > len(data):
                return None
        elif kind in _LISTS:
            left += max(0, int(data[start + 1 : line_end])) * _LISTS[kind]
            if kind == ord("|"):  # attributes come before the value that they belong to
                left += 1
        elif kind not in _LINES:
            raise ValueError(f"no value of the protocol begins with {bytes(data[start : start + 1])!r}")
        start = after
    return start


def is_push(data: bytes | bytearray) -> bool:
    """Whether a value comes unasked, so that it answers no command."""
    return data[:1] == b">"


def words_of(command: bytes) -> list[bytes]:
    """The words of one complete command."""
    words: list[bytes] = []
    at = command.index(b"\r\n") + 2
    while at < len(command):
        line_end = command.index(b"\r\n", at)
        length = int(command[at + 1 : line_end])
        words.append(command[line_end + 2 : line_end + 2 + length])
        at = line_end + 2 + length + 2
    return words
