"""The wire: values by parameter to plain JSON, proven by reading them back, and plain JSON to typed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from weighbridge.arguments import diagnosis
from weighbridge.arguments.comparison import difference_of
from weighbridge.arguments.difference import Absence
from weighbridge.arguments.misfit import Misfit
from weighbridge.arguments.schema import Schema
from weighbridge.arguments.unset import unset_fields


def write(schema: Schema, values: dict[str, Any]) -> dict[str, Any]:
    """The plain JSON values of ``values``, proven to read back as they are.

    :raises Misfit: if one does not.
    """
    if not schema.holds_models:
        return _written(schema, values)
    try:
        return _written(schema, values, exclude=_unset(values))
    except Misfit as misfit:
        facts, of_size = misfit.facts, misfit.of_size
    # Fields go by their names, for an alias may differ between writing and reading, and without those that are
    # unset. But a union may tell its members apart by just these: then all of it, by alias.
    try:
        return _written(schema, values, by_alias=True)
    except Misfit:
        raise Misfit(**facts, of_size=of_size) from None


def read(schema: Schema, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The typed values of plain ones.

    :raises Misfit: if one does not validate.
    """
    try:
        return _read(schema, to_json(plain, inf_nan_mode="constants"))
    except Exception:  # noqa: BLE001  # whatever it was, it is looked for again, argument by argument
        misfit = _unread(schema, plain)
    raise misfit


def _written(
    schema: Schema, values: dict[str, Any], *, by_alias: bool = False, exclude: dict[Any, Any] | None = None
) -> dict[str, Any]:
    try:
        text = _text(schema, values, by_alias=by_alias, exclude=exclude)
        misfit = _difference(values, _read(schema, text))
        if misfit is None:
            # A model may be set to write NaN as it stands, which is no JSON: this refuses it.
            plain: dict[str, Any] = from_json(text, allow_inf_nan=False)
            return plain
    except Exception:  # noqa: BLE001  # whatever it was, it is looked for again, argument by argument
        misfit = _unwritten(schema, values, by_alias=by_alias)
    raise misfit


def _text(schema: Schema, values: dict[str, Any], *, by_alias: bool, exclude: dict[Any, Any] | None = None) -> bytes:
    # Without warnings: what they warn of, the comparison refuses, and they quote the values.
    return schema.adapter.serializer.to_json(
        values, by_alias=by_alias, exclude=exclude, round_trip=True, warnings=False
    )


def _read(schema: Schema, text: bytes) -> dict[str, Any]:
    values: dict[str, Any] = schema.adapter.validator.validate_json(text, by_alias=True, by_name=True)
    return values


def _difference(values: dict[str, Any], got: dict[str, Any]) -> Misfit | None:
    for name, value in values.items():
        found = difference_of(value, got.get(name, Absence.ABSENT))
        if found is not None:
            return Misfit(
                argument=name,
                problem=found.problem,
                remedy=found.remedy,
                path=found.path,
                sent=found.sent,
                arrives=found.arrives,
            )
    return None


def _unset(values: dict[str, Any]) -> dict[Any, Any] | None:
    try:
        return unset_fields(values)
    except Exception:  # noqa: BLE001  # it holds itself, or reading it runs foreign code: writing will tell, and where
        return None


# -- what failed is looked for in one argument after the other ----------------------------------------------


def _unwritten(schema: Schema, values: dict[str, Any], *, by_alias: bool) -> Misfit:
    try:
        found = (_fault(schema, name, value, by_alias=by_alias) for name, value in values.items())
        return next((misfit for misfit in found if misfit is not None), None) or diagnosis.not_found(values)
    except Exception:  # noqa: BLE001  # looking at a value runs foreign code as well, and its errors may quote it
        return diagnosis.not_found(values)


def _fault(schema: Schema, name: str, value: Any, *, by_alias: bool) -> Misfit | None:
    try:
        text = _text(schema, {name: value}, by_alias=by_alias)
    except Exception:  # noqa: BLE001  # a serializer may raise anything
        return diagnosis.not_written(name, value)
    try:
        got = _read(schema, text)
    except Exception as error:  # noqa: BLE001  # a validator may raise anything
        return diagnosis.not_validated(name, value, error)
    try:
        misfit = _difference({name: value}, got)
    except Exception as error:  # noqa: BLE001  # comparing runs foreign code
        return diagnosis.not_compared(name, error)
    if misfit is None:
        try:
            from_json(text, allow_inf_nan=False)
        except ValueError:
            misfit = diagnosis.not_finite(name, diagnosis.find_not_finite(value))
    return misfit


def _unread(schema: Schema, plain: Mapping[str, Any]) -> Misfit:
    for name, value in plain.items():
        try:
            text = to_json({name: value}, inf_nan_mode="constants")
        except Exception:  # noqa: BLE001  # a payload may hold anything
            return diagnosis.not_written(name, value)
        try:
            _read(schema, text)
        except Exception as error:  # noqa: BLE001  # a validator may raise anything
            return diagnosis.not_validated(name, value, error)
    return diagnosis.not_found(plain)
