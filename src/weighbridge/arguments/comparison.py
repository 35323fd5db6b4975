"""The comparison of a value as it is sent with what would arrive: by value, by type, and all the way down."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum, Flag
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from weighbridge.arguments.difference import CHANGED, Absence, Difference
from weighbridge.arguments.misfit import article, key_step
from weighbridge.arguments.scalars import SCALARS, extended, moments

#: Exact types whose ``==`` says all that there is to say.
_ATOMS: Final = frozenset({bool, int, str, bytes, type(None), UUID, date, timedelta})
_BUILT_IN: Final = frozenset({list, tuple, dict, set, frozenset, deque, datetime, time})
#: Types whose ``==`` is trusted although they keep caches in their attributes.
_TRUSTED: Final = sys.stdlib_module_names | {"pydantic", "pydantic_core"}


def difference_of(sent: Any, got: Any) -> Difference | None:
    """The first difference, or ``None`` if ``got`` is ``sent`` in value and type, all the way down.

    One exception: an int arrives as the same float where a float is declared, which every type checker allows.
    """
    if sent is got:
        return None
    kind = type(sent)
    if kind is not type(got):
        return _of_types(sent, got)
    if kind in _ATOMS:
        return None if sent == got else CHANGED
    compare = _EXACT.get(kind)
    return compare(sent, got) if compare is not None else _of_family(kind)(sent, got)


def _of_types(sent: Any, got: Any) -> Difference | None:
    if type(sent) is int and type(got) is float and sent == got:
        return None
    if got is Absence.ABSENT:
        return Difference(problem="would not arrive", remedy="pass what its type declares, and nothing else")
    if type(sent) is float and not math.isfinite(sent):
        return Difference(
            problem="is NaN or infinite, and JSON has no word for it where no float is declared",
            remedy="declare it as a float, or pass None for it",
        )
    if sent is Absence.ABSENT:
        return Difference(problem=f"is not set, and would arrive as {article(type(got))}", remedy="set it")
    return Difference.of_types(
        type(sent), type(got), remedy=f"pass {article(type(got))}, or annotate it with the type that is passed"
    )


def _of_family(kind: type) -> Callable[[Any, Any], Difference | None]:
    for family, compare in _FAMILIES:
        if issubclass(kind, family):
            return compare
    return _dataclasses if dataclasses.is_dataclass(kind) else _opaque


_OF_KEYS: Final = "declare the type of the keys, or use strings"
_UNDECLARED: Final = Difference(
    problem="is not declared by its type, and would not arrive", remedy="declare it or drop it"
)


# -- containers ---------------------------------------------------------------------------------------------


def _sequences(sent: Collection[Any], got: Collection[Any]) -> Difference | None:
    if len(sent) != len(got):
        return CHANGED
    for index, (one, other) in enumerate(zip(sent, got, strict=True)):
        if (found := difference_of(one, other)) is not None:
            return found.inside(f"[{index}]")
    return _states(sent, got)


def _deques(sent: deque[Any], got: deque[Any]) -> Difference | None:
    if sent.maxlen != got.maxlen:
        return Difference(
            problem="is a deque with a maxlen, which would be lost", remedy="pass a list, or a deque without maxlen"
        )
    return _sequences(sent, got)


def _mappings(sent: dict[Any, Any], got: dict[Any, Any]) -> Difference | None:
    if len(sent) != len(got):
        return _by_key(sent, got) or CHANGED
    for (key, value), (other_key, other_value) in zip(sent.items(), got.items(), strict=True):
        if difference_of(key, other_key) is not None:
            return CHANGED if isinstance(sent, OrderedDict) else _by_key(sent, got)
        if (found := difference_of(value, other_value)) is not None:
            return found.inside(key_step(key))
    return _states(sent, got)


def _by_key(sent: dict[Any, Any], got: dict[Any, Any]) -> Difference | None:
    """In another order, as a TypedDict arrives (in that of its declaration), or with other keys."""
    arrived = {key: key for key in got}
    for key, value in sent.items():
        other = arrived.get(key, Absence.ABSENT)
        if difference_of(key, other) is not None:
            return _of_key(key, other, [each for each in got if each not in sent], same_size=len(sent) == len(got))
        if (found := difference_of(value, got[key])) is not None:
            return found.inside(key_step(key))
    return _states(sent, got)


def _of_key(key: Any, other: Any, new: Collection[Any], *, same_size: bool) -> Difference:
    """A key that would not arrive as it is. ``other``: the key equal to it there; ``new``: those that nobody sent."""
    if not same_size:
        return _UNDECLARED.inside(key_step(key))
    # Which of the new ones it became is not known; where all are of one type, its type is.
    kinds = {type(each) for each in (new if other is Absence.ABSENT else (other,))} - {type(key)}
    if len(kinds) != 1:
        return Difference(problem="is a key that would arrive changed", remedy=_OF_KEYS, path=key_step(key))
    return Difference.of_types(type(key), kinds.pop(), remedy=_OF_KEYS).inside(".keys()")


def _default_dicts(sent: defaultdict[Any, Any], got: defaultdict[Any, Any]) -> Difference | None:
    if sent.default_factory is not got.default_factory:
        return Difference(problem="has a default_factory, which would be lost", remedy="pass a dict")
    return _mappings(sent, got)


def _sets(sent: Collection[Any], got: Iterable[Any]) -> Difference | None:
    arrived = {each: each for each in got}
    if len(sent) != len(arrived):
        return CHANGED
    for one in sent:
        if (found := difference_of(one, arrived.get(one, Absence.ABSENT))) is not None:
            return found.inside("{…}")
    return _states(sent, got)


# -- objects ------------------------------------------------------------------------------------------------


def _enums(sent: Enum, got: Enum) -> Difference | None:
    # Members are one object each, which `is` has seen; only combined flags are made anew.
    return None if isinstance(sent, Flag) and sent.value == got.value else CHANGED


def _secrets(sent: Any, got: Any) -> Difference | None:
    if difference_of(sent.get_secret_value(), got.get_secret_value()) is None:
        return None
    return Difference(
        problem=f"is {article(type(sent))}, which is written as asterisks",
        remedy="keep the secret where the worker can read it, and pass what it is filed under",
    )


def _models(sent: BaseModel, got: BaseModel) -> Difference | None:
    kept, arrived = vars(sent), vars(got)
    for name, field in type(sent).__pydantic_fields__.items():
        found = difference_of(kept.get(name, Absence.ABSENT), arrived.get(name, Absence.ABSENT))
        if found is not None:
            if field.exclude:
                remedy = "leave it at its default, or drop exclude=True"
                found = Difference(problem="has exclude=True, so it is not sent", remedy=remedy)
            return found.inside(f".{name}")
    found = _attributes(sent.__pydantic_extra__ or {}, got.__pydantic_extra__ or {})
    return found or _attributes(sent.__pydantic_private__ or {}, got.__pydantic_private__ or {})


def _dataclasses(sent: Any, got: Any) -> Difference | None:
    names = [field.name for field in dataclasses.fields(sent)]
    for name in names:
        found = difference_of(getattr(sent, name, Absence.ABSENT), getattr(got, name, Absence.ABSENT))
        if found is not None:
            return found.inside(f".{name}")
    return _states(sent, got, but=names)


def _extended(sent: Any, got: Any) -> Difference | None:
    return extended(sent, got) or _states(sent, got)


def _extended_moments(sent: Any, got: Any) -> Difference | None:
    return moments(sent, got) or _states(sent, got)


def _opaque(sent: Any, got: Any) -> Difference | None:
    """Of a class that is not known here: by ``==``, and by attributes as well, for ``==`` may look at an id only."""
    equality: object = type(sent).__eq__
    if equality is object.__eq__:
        return _states(sent, got) if _state_of(sent) else _incomparable(sent, "has no == of its own")
    try:
        equal = sent == got
    except Exception as error:  # noqa: BLE001  # foreign code may raise anything; it is reported as a difference
        return _incomparable(sent, f"raises {type(error).__name__} when it is compared")
    if equal is not True:
        return CHANGED if equal is False else _incomparable(sent, f"answers == with {article(type(equal))}")
    return None if str(type(sent).__module__).partition(".")[0] in _TRUSTED else _states(sent, got)


def _incomparable(sent: Any, why: str) -> Difference:
    return Difference(
        problem=f"is {article(type(sent))}, which {why}, so nothing proves that it arrives whole",
        remedy="pass the values that the task needs of it",
    )


def _states(sent: Any, got: Any, but: Collection[str] = ()) -> Difference | None:
    """What a class of its own keeps in attributes; built-in types have none."""
    if type(sent) in _BUILT_IN:
        return None
    return _attributes(_state_of(sent), _state_of(got), but)


def _attributes(sent: Mapping[str, Any], got: Mapping[str, Any], but: Collection[str] = ()) -> Difference | None:
    if not sent and not got:
        return None
    for name in {**sent, **got}:  # in their order, so that the same one is found each time
        if name in but:
            continue
        found = difference_of(sent.get(name, Absence.ABSENT), got.get(name, Absence.ABSENT))
        if found is not None:
            return found.inside(f".{name}")
    return None


def _state_of(value: Any) -> dict[str, Any]:
    """The attributes that an object holds itself, in its dict and its slots, without cached properties."""
    state = object.__getstate__(value)
    if state is None:
        return {}
    kept: dict[str, Any] = {}
    for part in state if isinstance(state, tuple) else (state,):
        kept.update(part or {})
    kind = type(value)
    return {name: each for name, each in kept.items() if not isinstance(getattr(kind, name, None), cached_property)}


_EXACT: Final[dict[type, Callable[[Any, Any], Difference | None]]] = {
    **SCALARS,
    list: _sequences,
    tuple: _sequences,
    dict: _mappings,
    set: _sets,
    frozenset: _sets,
}
_FAMILIES: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any, Any], Difference | None]], ...]] = (
    (Enum, _enums),
    (BaseModel, _models),
    ((str, bytes, int, float), _extended),
    ((datetime, time), _extended_moments),
    ((list, tuple), _sequences),
    (deque, _deques),
    (defaultdict, _default_dicts),
    (dict, _mappings),
    ((set, frozenset), _sets),
    ((SecretStr, SecretBytes, Secret), _secrets),
)
