"""The diagnosis of an argument that failed: where and why, in our words, with types and places but no values."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from weighbridge.arguments.kinds import kind_of
from weighbridge.arguments.limit import is_too_deep
from weighbridge.arguments.misfit import Misfit, article, key_step

#: Errors of pydantic whose text is made of the type's own words, never of what was passed.
_SAFE: Final = frozenset(
    re.findall(
        r"\w+",
        "missing extra_forbidden none_required bool_type bool_parsing int_type int_parsing "
        "int_parsing_size int_from_float float_type float_parsing string_type string_too_short string_too_long "
        "string_pattern_mismatch string_unicode bytes_type bytes_too_short bytes_too_long dict_type mapping_type "
        "list_type tuple_type set_type frozen_set_type too_short too_long model_type model_attributes_type "
        "dataclass_type literal_error enum greater_than greater_than_equal less_than less_than_equal multiple_of "
        "finite_number decimal_type decimal_parsing decimal_max_digits decimal_max_places decimal_whole_digits "
        "date_type date_from_datetime_inexact date_past date_future datetime_type datetime_past datetime_future "
        "timezone_naive timezone_aware time_type time_delta_type uuid_type url_type",
    )
)
#: Deeper than the JSON parser goes.
_DEPTH: Final = 200
_LONGEST_PATH: Final = 120
_TOO_DEEP: Final = (
    "is nested too deeply for JSON, or holds itself",
    "pass it in a flat form, with ids in place of references",
)
_FITTING: Final = "pass what its annotation describes"


def not_validated(name: str, value: Any, error: Exception) -> Misfit:
    """An argument that validation refused, or whose own validator raised."""
    if not isinstance(error, ValidationError):
        problem = f"cannot be validated: its validator raised {type(error).__name__}"
        return Misfit(argument=name, problem=problem, remedy="let validators raise ValueError for what they refuse")
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind = first["type"]
    said = first["msg"][:1].lower() + first["msg"][1:] if kind in _SAFE else f"it is refused as {kind}"
    if kind == "json_invalid":
        return Misfit(
            argument=name,
            problem="holds a number that is too long, or is nested too deeply",
            remedy=_TOO_DEEP[1],
            of_size=True,
        )
    path, leaf = _followed(value, first["loc"][1:])
    if kind in {"missing", "extra_forbidden"} and len(first["loc"]) > 1:
        path += key_step(first["loc"][-1])
        return Misfit(argument=name, problem=f"does not validate: {said}", remedy=_FITTING, path=path)
    if isinstance(leaf, float) and not math.isfinite(leaf):
        return not_finite(name, path)
    problem = f"is {article(type(leaf))} that does not validate: {said}"
    return Misfit(argument=name, problem=problem, remedy=_FITTING, path=path)


def not_written(name: str, value: Any) -> Misfit:
    """An argument that has no JSON text."""
    if is_too_deep([value]):
        return Misfit(argument=name, problem=_TOO_DEEP[0], remedy=_TOO_DEEP[1], of_size=True)
    path, leaf, depth = _unwritable(value)
    problem, remedy = _TOO_DEEP if depth == _DEPTH else _why_unwritable(leaf)
    if len(path) > _LONGEST_PATH:
        path = f"{path[:_LONGEST_PATH]}…"
    return Misfit(argument=name, problem=problem, remedy=remedy, path=path, of_size=depth == _DEPTH)


def _why_unwritable(leaf: Any) -> tuple[str, str]:
    match leaf:
        case str():
            return "is text with a lone surrogate, which has no encoding", "pass valid text, or bytes"
        case bytes():
            return (
                "is bytes that are no UTF-8 text",
                "give the model ser_json_bytes='base64' and val_json_bytes='base64'",
            )
        case BaseModel():
            return f"is {article(type(leaf))} that its own serializer does not write", "see to that serializer"
        case _:
            kind = kind_of(type(leaf))
            return f"is {article(type(leaf))}, which {kind.why}", kind.instead


def not_finite(name: str, path: str) -> Misfit:
    """An argument with a NaN or an infinity where it would be lost."""
    return Misfit(
        argument=name,
        path=path,
        problem="is NaN or infinite, which JSON cannot say",
        remedy="pass None or a finite number, or give the model ser_json_inf_nan='strings'",
    )


def not_compared(name: str, error: Exception) -> Misfit:
    """An argument that cannot be compared with what would arrive."""
    if isinstance(error, RecursionError):
        return Misfit(argument=name, problem=_TOO_DEEP[0], remedy=_TOO_DEEP[1], of_size=True)
    return Misfit(
        argument=name,
        problem=f"cannot be compared with what would arrive: that raised {type(error).__name__}",
        remedy="pass the values that the task needs of it",
    )


def not_found(values: Mapping[str, Any]) -> Misfit:
    """Arguments that failed together, and of which none fails by itself: a validator that does not always agree."""
    return Misfit(
        argument=next(iter(values), "(none)"),
        problem="or one after it did not survive being written and read back, and none does it by itself",
        remedy="let validators, serializers and attributes depend on the value only",
    )


def find_not_finite(value: Any) -> str:
    """The path to the first NaN or infinity in ``value``, empty if it is itself one."""
    for step, child in _children(value):
        if isinstance(child, float):
            if not math.isfinite(child):
                return step
        elif found := find_not_finite(child):
            return step + found
    return ""


def _unwritable(value: Any) -> tuple[str, Any, int]:
    """The innermost part of ``value`` that has no JSON text of its own, the way to it, and how deep it is."""
    path = ""
    for depth in range(_DEPTH):
        inner = next(((step, child) for step, child in _children(value) if not _is_writable(child)), None)
        if inner is None:
            return path, value, depth
        path += inner[0]
        value = inner[1]
    return path, value, _DEPTH


def _is_writable(value: Any) -> bool:
    try:
        to_json(value)
    except Exception:  # noqa: BLE001  # that it raises is the answer
        return False
    return True


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """What ``value`` holds, each with its step."""
    if isinstance(value, BaseModel):
        yield from ((f".{name}", child) for name, child in vars(value).items())
    elif isinstance(value, dict):
        yield from ((key_step(key), part) for key, child in value.items() for part in (key, child))
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", child) for index, child in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("{…}", child) for child in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{field.name}", getattr(value, field.name, None)) for field in dataclasses.fields(value))


def _followed(value: Any, steps: Sequence[int | str]) -> tuple[str, Any]:
    """Where pydantic's location leads in ``value``; names of union members in it lead nowhere, and are skipped."""
    path = ""
    for step in steps:
        if isinstance(value, dict) and step in value:
            path += key_step(step)
            value = value[step]
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            path += f"[{step}]"
            value = value[step]
        elif isinstance(step, str) and step in getattr(value, "__dict__", ()):
            path += f".{step}"
            value = vars(value)[step]
    return path, value
