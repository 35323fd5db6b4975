"""The limits of a call's arguments as JSON: their bytes, and the levels of lists and objects in one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import to_json

from weighbridge.arguments.misfit import Misfit

#: Levels that arguments may have. Readers of JSON recurse, and end somewhere between 100 and 1,000 levels, each at
#: another; so what is deeper than any real data is refused before one of them fails.
DEEPEST: Final = 63
_CONTAINERS: Final = frozenset({dict, list, tuple})


def size_of(args: Iterable[Any], kwargs: Mapping[str, Any]) -> int:
    """The bytes of encoded arguments, as they stand in a message; 0 of what has no JSON, which no reader takes."""
    try:
        return len(to_json((args, kwargs), inf_nan_mode="constants"))
    except ValueError:
        return 0


def is_too_deep(values: Iterable[Any]) -> bool:
    """Whether lists and objects among plain values stand in one another on more levels than arguments may have.

    It goes down level by level, without recursion: no value can be too deep for it.
    """
    level = _containers_in(values)
    for _ in range(DEEPEST):
        if not level:
            return False
        level = [inner for each in level for inner in _containers_in(each.values() if type(each) is dict else each)]
    return bool(level)


def _containers_in(values: Iterable[Any]) -> list[Any]:
    return [each for each in values if type(each) in _CONTAINERS]


def too_deep(plain: Mapping[str, Any]) -> Misfit | None:
    """The argument that has more levels than it may have, if one does."""
    if not is_too_deep(plain.values()):
        return None
    return Misfit(
        argument=next(name for name, value in plain.items() if is_too_deep([value])),
        problem=f"is nested more than {DEEPEST} levels deep",
        remedy="pass it in a flat form, with ids in place of references",
    )


def too_large(plain: Mapping[str, Any], *, size_bytes: int, limit_bytes: int) -> Misfit:
    """Arguments of ``size_bytes``, which is more than the limit: the largest of them is named."""
    sizes = {name: len(to_json(value, inf_nan_mode="constants")) for name, value in plain.items()}
    largest = max(sizes, key=lambda name: sizes[name], default="(none)")
    together = f"is {sizes.get(largest, 0):,} bytes of JSON"
    if len(sizes) > 1:
        together += f", and all {len(sizes)} arguments are {size_bytes:,}"
    return Misfit(
        argument=largest,
        problem=f"{together}: more than the {limit_bytes:,} of arguments_limit_kib",
        remedy="pass an id or a reference, and keep the data where the worker can read them",
    )
