"""A structured field: texts and numbers as values of an HTTP header, by RFC 9651."""

from __future__ import annotations

from typing import Final

#: Digits after the point of a decimal, at most (RFC 9651, section 3.3.2).
DECIMALS: Final = 3


def text(value: str) -> str:
    """A String; of what that cannot carry, which is all but printable ASCII, a Display String.

    Half characters (lone surrogates), which UTF-8 cannot carry either, become question marks.
    """
    if all(" " <= char <= "~" for char in value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    encoded = value.encode("utf-8", "replace")
    return '%"' + "".join(chr(byte) if _stands_for_itself(byte) else f"%{byte:02x}" for byte in encoded) + '"'


def _stands_for_itself(byte: int) -> bool:
    return 0x20 <= byte <= 0x7E and byte not in b'%"'  # noqa: PLR2004  # printable ASCII, from " " to "~"


def number(value: float) -> str:
    """An Integer if it is whole, else a Decimal, which has three digits after the point at most.

    For numbers whose size is below 10^12, and 10^12 itself: a Decimal has twelve digits before the point at most.
    """
    rounded = round(value, DECIMALS)
    return f"{rounded:.0f}" if rounded == int(rounded) else f"{rounded:.{DECIMALS}f}".rstrip("0")
