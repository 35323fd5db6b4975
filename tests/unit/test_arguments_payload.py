"""What a worker reads is validated before the function sees it, and refused by name if it does not fit."""

from __future__ import annotations

import math
import pickle
import uuid
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from weighbridge.arguments import ArgumentCodec
from weighbridge.errors import ArgumentError, PayloadError


class Line(BaseModel):
    sku: str
    count: int

    @field_validator("sku")
    @classmethod
    def known(cls, sku: str) -> str:
        if sku == "hunter2":
            raise KeyError(sku)
        return sku


def takes(report_id: uuid.UUID, lines: list[Line], *, ratio: float = 1.0) -> None: ...


CODEC = ArgumentCodec(takes, task="app.takes")
SOME_ID = "6f0e8a2c-5f55-4a6c-9a39-3c1d0f3f6f11"
LINES: list[Any] = [{"sku": "a", "count": 1}]


@pytest.mark.parametrize(
    ("args", "kwargs", "argument", "said"),
    [
        pytest.param(["hunter2", LINES], {}, "report_id", "is a str that does not validate", id="no UUID"),
        pytest.param(
            [SOME_ID, [{"sku": "a"}]],
            {},
            "lines",
            "\"lines[0]['count']\" of its message does not validate",
            id="a field less",
        ),
        pytest.param(
            [SOME_ID, [*LINES, {"sku": 1, "count": 1}]],
            {},
            "lines",
            "\"lines[1]['sku']\" of its message is an int",
            id="deep",
        ),
        pytest.param([SOME_ID, None], {}, "lines", "is a NoneType", id="null"),
        pytest.param([SOME_ID], {}, "lines", "is missing", id="an argument less"),
        pytest.param([SOME_ID, LINES, 1], {}, "#3", "is one too many", id="an argument more"),
        pytest.param([SOME_ID, LINES], {"later": 1}, "later", "is no parameter of the task", id="an unknown one"),
        pytest.param([SOME_ID, LINES], {"ratio": "much"}, "ratio", "valid number", id="by keyword"),
        pytest.param([SOME_ID, [{"sku": "hunter2", "count": 1}]], {}, "lines", "raised KeyError", id="validator"),
        pytest.param([SOME_ID, ["\ud800"]], {}, "lines", "lone surrogate", id="surrogate"),
        pytest.param([SOME_ID, [object()]], {}, "lines", "is an object", id="what is no JSON"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_name(
    args: list[Any], kwargs: dict[str, Any], argument: str, said: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode(args, kwargs)

    error = caught.value
    assert error.argument == argument
    assert said in str(error)
    assert "hunter2" not in str(error)
    assert error.__context__ is None


def test_the_text_says_that_the_message_cannot_run() -> None:
    with pytest.raises(ArgumentError) as caught:
        CODEC.decode([SOME_ID, 5], {})

    assert str(caught.value) == (
        "task 'app.takes' cannot run: argument 'lines' of its message is an int that does not validate: input "
        "should be a valid array; pass what its annotation describes"
    )


def test_fields_that_this_version_does_not_know_are_ignored_as_the_model_says() -> None:
    (_, lines), _ = CODEC.decode([SOME_ID, [{"sku": "a", "count": 1, "later": 2}]], {})

    assert lines == [Line(sku="a", count=1)]


def test_other_producers_may_write_numbers_as_json_does() -> None:
    (_, lines), kwargs = CODEC.decode([SOME_ID, [{"sku": "a", "count": "3"}]], {"ratio": math.inf})

    assert lines[0].count == 3
    assert kwargs == {"ratio": math.inf}


def test_a_payload_error_survives_pickling() -> None:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode([SOME_ID, 5], {})

    copy = pickle.loads(pickle.dumps(caught.value))

    assert (str(copy), copy.argument) == (str(caught.value), "lines")
