"""The schema of a signature: one pydantic adapter for all parameters, and what in it can never cross a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from weighbridge.arguments.annotations import UnresolvedError
from weighbridge.arguments.holding import held_by
from weighbridge.arguments.kinds import kind_of, refused_kind
from weighbridge.arguments.obstacle import Obstacle, name_of, survey

#: Bytes are base64, for JSON text holds no others. NaN and the infinities are strings where a float is declared:
#: JSON has no words for them, and a float's validator reads them back. Models keep what they themselves set.
CONFIG: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """An adapter that writes and reads the values by parameter. ``holds_models``: a pydantic model may be in them."""

    adapter: TypeAdapter[Any]
    holds_models: bool


def schema_of(hints: Mapping[str, Any]) -> Schema | Obstacle:
    """The schema, or the first obstacle.

    :raises UnresolvedError: if a model among the types names what is not defined.
    """
    for name, hint in hints.items():
        for held in held_by(hint):
            kind = refused_kind(held.type, direct=held.direct)
            if kind is not None:
                return Obstacle(parameter=name, type=held.type.__name__, kind=kind)
    try:
        adapter = _adapter(dict(hints))
    except Warning:
        raise  # the user has made warnings errors
    except Exception:  # noqa: BLE001  # a type's own schema hook may raise anything; the parameter is named
        return _without_schema(hints)
    found = survey(adapter.core_schema)
    return found.obstacle or Schema(adapter=adapter, holds_models=found.holds_models)


def _adapter(_hints: dict[str, Any]) -> TypeAdapter[Any]:
    # Pydantic looks names up in the frame that makes an adapter, so this one holds as few as it can. It takes
    # a configuration for a TypedDict only from around it: that is what `| None` is for.
    _adapter: TypeAdapter[Any] = TypeAdapter(
        TypedDict("Arguments", _hints, total=False) | None,  # type: ignore[operator]  # known at run time
        config=CONFIG,
    )
    if not _adapter.pydantic_complete:
        _adapter.rebuild(raise_errors=True)
    return _adapter


def _without_schema(hints: Mapping[str, Any]) -> Obstacle:
    """The parameter for which pydantic knows no schema, and the innermost type in it to blame."""
    errors = {name: error for name, hint in hints.items() if (error := _schema_error({name: hint})) is not None}
    # None by itself: then they fail together, and the first stands for all.
    name = next(iter(errors or hints))
    error = errors.get(name)
    if isinstance(error, NameError):
        raise UnresolvedError.because(error, parameter=name)
    blamed = [held.type for held in held_by(hints[name]) if _schema_error({name: held.type}) is not None]
    culprit = blamed[-1] if blamed else hints[name]
    return Obstacle(parameter=name, type=name_of(culprit), kind=kind_of(culprit))


def _schema_error(hints: dict[str, Any]) -> Exception | None:
    try:
        _adapter(hints)
    except Exception as error:  # noqa: BLE001  # that it raises is the answer
        return error
    return None
