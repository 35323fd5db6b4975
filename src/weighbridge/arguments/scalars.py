"""Scalars compared: numbers and moments, of which ``==`` does not say all."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, time, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final

from weighbridge.arguments.difference import CHANGED, Difference
from weighbridge.arguments.misfit import article


def _floats(sent: float, got: float) -> Difference | None:
    if sent == got:
        return None if sent or math.copysign(1, sent) == math.copysign(1, got) else CHANGED
    return None if math.isnan(sent) and math.isnan(got) else CHANGED


def _complexes(sent: complex, got: complex) -> Difference | None:
    return _floats(sent.real, got.real) or _floats(sent.imag, got.imag)


def _decimals(sent: Decimal, got: Decimal) -> Difference | None:
    # Not ==: 1.10 is more than 1.1 to whoever prints an invoice, and a signalling NaN raises.
    return None if sent.as_tuple() == got.as_tuple() else CHANGED


def moments(sent: Any, got: Any) -> Difference | None:
    """Datetimes and times: the same wall clock and offset; a zone that changes its offset does not travel."""
    zone = sent.tzinfo
    if zone is not None and not _is_fixed(zone):
        return Difference(
            problem=f"has {article(type(zone))} as its time zone, of which only today's offset would arrive",
            remedy="pass it in UTC, with .astimezone(timezone.utc), and the zone's name beside it if it matters",
        )
    if (zone is None) is not (got.tzinfo is None) or sent != got or sent.utcoffset() != got.utcoffset():
        return CHANGED
    if zone is None and sent.fold != got.fold:
        return Difference(
            problem="says by its fold which of two equal hours it means, and that would be lost",
            remedy="give it a time zone of a fixed offset, such as UTC",
        )
    return None


def _is_fixed(zone: tzinfo) -> bool:
    # Asked without a moment, only a zone that never changes its offset knows it.
    return type(zone) is timezone or zone.utcoffset(None) is not None


_ATOMS: Final[tuple[Any, ...]] = (str, bytes, int, float)


def extended(sent: Any, got: Any) -> Difference | None:
    """Of a class made from text or a number: these as such, whatever ``==`` says that the class has."""
    for atom in _ATOMS:
        if isinstance(sent, atom) and atom.__eq__(sent, got) is not True:
            return CHANGED
    return None


#: How to compare two of exactly this type.
SCALARS: Final[dict[type, Callable[[Any, Any], Difference | None]]] = {
    float: _floats,
    complex: _complexes,
    Decimal: _decimals,
    datetime: moments,
    time: moments,
}
