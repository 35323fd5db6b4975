"""The text of a value that nothing is inside of, written alike in each process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from re import Pattern
from types import EllipsisType, ModuleType, NoneType
from typing import Any, Final
from zoneinfo import ZoneInfo

#: In this order, since a flag is a number too. The ``repr`` is that of the class here: one's own may tell anything.
_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    bool: bool.__repr__,
    int: lambda value: int.__format__(value, "x"),  # the decimal digits are limited in number
    float: float.__repr__,
    complex: complex.__repr__,
    str: str.__repr__,
    bytes: bytes.__repr__,
    NoneType: repr,
    EllipsisType: repr,
    Decimal: Decimal.__repr__,
    Fraction: lambda value: f"{value.numerator:x}/{value.denominator:x}",
    range: range.__repr__,
    date: date.__repr__,
    timedelta: timedelta.__repr__,
    timezone: timezone.__repr__,
    ZoneInfo: lambda value: f"zone {value.key}",
    Pattern: lambda value: f"pattern {value.pattern!r} {int(value.flags)}",  # its repr is cut
    ModuleType: lambda value: f"module {value.__name__}",
}


def scalar_text(value: object) -> str | None:
    """The text of a number, a text, a flag, ``None``, a day, a range or a pattern; ``None`` of anything else.

    So it is of a member of an enumeration, which has a value inside, and of a ``datetime``, which has a time zone.
    """
    if isinstance(value, Enum | datetime):
        return None
    kind = type(value)
    for scalar, written in _WRITERS.items():
        if isinstance(value, scalar):
            return written(value) if kind is scalar else f"{type_name(kind)} {written(value)}"
    return None


def type_name(kind: type) -> str:
    """The name of a class, with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"
