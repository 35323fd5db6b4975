"""The fields of models that nobody set: left off the wire, so that they are unset on the other side as well."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, get_origin
from uuid import UUID

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from weighbridge.arguments.comparison import difference_of

#: Factories that give the same each time.
_EMPTY: Final[frozenset[Callable[..., Any]]] = frozenset({list, dict, set, frozenset, tuple})
_LEAVES: Final = frozenset({str, int, float, bool, bytes, type(None), UUID, Decimal, datetime, date, timedelta})
_WILDCARD: Final = "__all__"  # pydantic's own word for every item, so it cannot stand for a key


def unset_fields(value: Any) -> dict[Any, Any] | None:
    """The unset fields anywhere in ``value``, in the form of pydantic's ``exclude``; ``None`` if there are none.

    A task that updates a row writes ``model_dump(exclude_unset=True)``. If unset fields travelled, all would
    count as set in a worker, and it would overwrite what nobody asked to change. A field goes all the same where
    the default might differ there (a factory's), or where a union is told apart by it (a literal).
    """
    if type(value) in _LEAVES:
        return None
    match value:
        case RootModel():
            return unset_fields(value.root)
        case BaseModel():
            return _of_model(value)
        case dict():
            found = _of_items((key, item) for key, item in value.items() if key != _WILDCARD)
        case list() | tuple():
            found = _of_items(enumerate(value))
        case _ if dataclasses.is_dataclass(value):
            found = _of_items((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
        case _:
            found = None
    return found


def _of_items(items: Iterable[tuple[Any, Any]]) -> dict[Any, Any] | None:
    found: dict[Any, Any] = {}
    for key, item in items:
        if type(item) not in _LEAVES and (inner := unset_fields(item)) is not None:
            found[key] = inner
    return found or None


def _of_model(model: BaseModel) -> dict[Any, Any] | None:
    found: dict[Any, Any] = {}
    given = model.__pydantic_fields_set__
    fields = type(model).__pydantic_fields__
    for name, value in vars(model).items():
        if name not in given and name in fields and _is_default(value, fields[name]):
            found[name] = True
        elif type(value) not in _LEAVES and (inner := unset_fields(value)) is not None:
            found[name] = inner
    return found or None


def _is_default(value: Any, field: FieldInfo) -> bool:
    factory = field.default_factory
    if factory is None:
        return difference_of(value, field.default) is None and get_origin(field.annotation) is not Literal
    return factory in _EMPTY and type(value) is factory and not value
