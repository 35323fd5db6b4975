"""Fingerprints: the same in every process, different where a worker would refuse a call, blind to all else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, GetCoreSchemaHandler, PlainSerializer, PlainValidator
from pydantic_core import core_schema

from weighbridge.declaration import task
from weighbridge.errors import ArgumentError
from weighbridge.lanes.queue.fingerprint import Comparison, Fingerprint, Fit, compare
from weighbridge.task import registry

IN_A_PROCESS = """
import json, sys
from enum import Enum
from typing import Literal
from uuid import UUID
from pydantic import BaseModel
from weighbridge import task
from weighbridge.lanes.queue.fingerprint import Fingerprint
from weighbridge.task import registry

class Size(Enum):
    SMALL = "s"
    LARGE = "l"

class Line(BaseModel):
    sku: str
    parts: "list[Line]" = []
    tags: set[str] = {"a", "b", "c"}

@task(name="render")
def render(report: UUID, lines: list[Line], size: Size | None = None, *, kind: Literal["b", "a"] = "a") -> None: ...

print(json.dumps(Fingerprint.of(registry.get("render")).to_plain()))
"""


class Line(BaseModel):
    """A line."""

    sku: str
    price: Decimal = Decimal(1)
    parts: list[Line] = Field(default_factory=list)


class OtherLine(BaseModel):
    """A line of the same fields under another name, told otherwise."""

    sku: str = Field(title="Stock", description="what is kept")
    price: Decimal = Decimal(2)
    parts: list[OtherLine] = Field(default_factory=list)


class LongerLine(Line):
    weight: int


class Colour(Enum):
    RED = "r"


class Own:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(lambda value: 1)
        )


def fingerprint(func: Callable[..., Any]) -> Fingerprint:
    task(name="fingerprint-test")(func)
    spec = registry.get("fingerprint-test")
    assert spec is not None
    registry.discard("fingerprint-test")
    return Fingerprint.of(spec)


def of_type(annotation: Any) -> str:
    def func(value: Any) -> None: ...

    func.__annotations__["value"] = annotation
    return fingerprint(func).parameters[0].digest


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_a_fingerprint_is_the_same_in_every_process(seed: str) -> None:
    def told(hash_seed: str) -> Any:
        ended = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(ended.stdout)

    plain = told(seed)
    assert plain == {
        "queue": "default",
        "parameters": [
            ["report", "either", True, of_type(UUID)],
            ["lines", "either", True, plain["parameters"][1][3]],
            ["size", "either", False, plain["parameters"][2][3]],
            ["kind", "keyword", False, of_type(Literal["a", "b"])],
        ],
    }
    # Written down when this test was made: a change here makes every deployed worker look different.
    assert plain["parameters"][0][3] == UUID_DIGEST
    assert plain["parameters"][1][3] == LINES_DIGEST


UUID_DIGEST = "44b2ecffc860"
LINES_DIGEST = "708493c3b58e"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (int | None, Optional[int]),  # noqa: UP045  # the older spelling is what is compared
        (Line, OtherLine),
        (list[Line], list[OtherLine]),
        (Annotated[int, "a note"], int),
        (Literal["a", "b"], Literal["b", "a"]),
    ],
)
def test_what_takes_the_same_values_has_one_digest(one: Any, other: Any) -> None:
    assert of_type(one) == of_type(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (int, str),
        (int, float),
        (UUID, str),
        (date, str),
        (Line, LongerLine),
        (list[int], set[int]),
        (Literal["a"], Literal["b"]),
        (Colour, Literal["s"]),
        (Annotated[int, Field(gt=1)], int),
        (dict[str, int], dict[str, str]),
        (tuple[int, str], tuple[str, int]),
        (Own, Any),
        (complex, int),
    ],
)
def test_what_takes_other_values_has_another_digest(one: Any, other: Any) -> None:
    assert of_type(one) != of_type(other)


def test_types_without_a_json_schema_have_a_fingerprint_too() -> None:
    Plain = Annotated[Own, PlainValidator(lambda value: value), PlainSerializer(lambda value: 1)]  # noqa: N806

    def func(one: Own, other: Plain, number: complex, *rest: bytes, **others: Own) -> None: ...

    func.__annotations__["other"] = Plain
    assert [each.kind for each in fingerprint(func).parameters] == ["either"] * 3 + ["rest", "others"]


def test_a_type_whose_own_hook_fails_leaves_names_and_kinds_to_compare() -> None:
    class Failing(BaseModel):
        @classmethod
        def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
            raise RuntimeError("no schema today")

    def func(one: Any, two: int = 0) -> None: ...

    func.__annotations__["one"] = Failing
    assert [(each.name, each.digest) for each in fingerprint(func).parameters] == [("one", "?"), ("two", "?")]


def test_the_name_of_a_model_beside_others_does_not_count() -> None:
    def make() -> type[BaseModel]:
        class Line(BaseModel):
            sku: str

        return Line

    def alone(value: Any) -> None: ...
    def beside(value: Any, other: Any) -> None: ...

    one = make()
    alone.__annotations__["value"] = one
    beside.__annotations__ |= {"value": one, "other": Line}
    assert fingerprint(alone).parameters[0].digest == fingerprint(beside).parameters[0].digest


def test_a_task_that_cannot_cross_has_none() -> None:
    def func(log: Callable[[], None]) -> None: ...

    with pytest.raises(ArgumentError, match="'log'"):
        fingerprint(func)


def test_a_fingerprint_comes_back_from_plain_json() -> None:
    def func(a: int, /, b: str = "", *, c: float = 1.0) -> None: ...

    found = fingerprint(func)
    assert Fingerprint.from_plain(found.task, json.loads(json.dumps(found.to_plain()))) == found


def app_task(a: int, b: str = "") -> None: ...
def same(a: int, b: str = "other") -> None: ...
def more(a: int, b: str = "", c: int = 0) -> None: ...
def relaxed(a: int = 1, b: str = "") -> None: ...
def needs_more(a: int, b: str = "", *, c: int) -> None: ...
def less(a: int) -> None: ...
def stricter(a: int, b: str) -> None: ...
def other_type(a: float, b: str = "") -> None: ...
def by_keyword(a: int, *, b: str = "") -> None: ...
def inserted(new: int = 0, a: int = 1, b: str = "") -> None: ...


@pytest.mark.parametrize(
    ("worker", "expected"),
    [
        (same, Comparison(fit=Fit.SAME)),
        (more, Comparison(fit=Fit.TAKES_MORE, differences=("it also takes 'c'",))),
        (relaxed, Comparison(fit=Fit.TAKES_MORE, differences=("it no longer needs 'a'",))),
        (needs_more, Comparison(fit=Fit.DIFFERS, differences=("it also needs 'c'",))),
        (less, Comparison(fit=Fit.DIFFERS, differences=("it does not take 'b'",))),
        (stricter, Comparison(fit=Fit.DIFFERS, differences=("it needs 'b', which calls may leave out",))),
        (other_type, Comparison(fit=Fit.DIFFERS, differences=("'a' is of another type",))),
        (by_keyword, Comparison(fit=Fit.DIFFERS, differences=("'b' is passed in another way (keyword)",))),
        (
            inserted,
            Comparison(fit=Fit.DIFFERS, differences=("its parameters by position come in another order",)),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_workers_signature_fits_the_calls_of_an_app_or_says_why_not(
    worker: Callable[..., Any], expected: Comparison
) -> None:
    assert compare(fingerprint(app_task), fingerprint(worker)) == expected
