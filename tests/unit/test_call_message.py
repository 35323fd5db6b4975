"""The message of a call: what Dramatiq's own encoder would have written, whoever reads it."""

from __future__ import annotations

import json
import math
from typing import Any

import dramatiq
import pytest
from dramatiq.encoder import PickleEncoder
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.lanes.queue.call_message import CallMessage

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # the codec refuses lone surrogates
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def message(args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, **options: Any) -> CallMessage:
    return CallMessage(queue_name="default", actor_name="task", args=args, kwargs=kwargs or {}, options=options)


@given(args=st.lists(PLAIN, max_size=3), kwargs=st.dictionaries(TEXT, PLAIN, max_size=3))
def test_it_reads_back_as_it_was(args: list[Any], kwargs: dict[str, Any]) -> None:
    sent = message(tuple(args), kwargs, max_age=5)
    assert dramatiq.Message.decode(sent.encode()) == dramatiq.Message(**sent.asdict())
    assert json.loads(sent.encode()) == json.loads(dramatiq.Message(**sent.asdict()).encode())


def test_a_number_without_a_value_stays_one() -> None:
    [read] = dramatiq.Message.decode(message((math.nan,)).encode()).args
    assert math.isnan(read)


def test_an_option_that_json_cannot_write_is_refused_as_by_dramatiq() -> None:
    with pytest.raises(TypeError):
        message(trace=b"bytes").encode()


def test_nested_options_are_written_by_dramatiqs_encoder() -> None:
    sent = message(trace={"traceparent": "00-1-2-01"})
    assert sent.encode() == dramatiq.Message(**sent.asdict()).encode()


def test_a_copy_is_a_message_of_its_own_with_the_same_call() -> None:
    copy = message((1,)).copy(options={"eta": 5})
    assert isinstance(copy, CallMessage)
    assert json.loads(copy.encode())["options"] == {"eta": 5}


def test_an_encoder_of_the_users_own_is_obeyed() -> None:
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(PickleEncoder())
    try:
        sent = message((1,))
        assert dramatiq.Message.decode(sent.encode()) == dramatiq.Message(**sent.asdict())
    finally:
        dramatiq.set_encoder(before)
