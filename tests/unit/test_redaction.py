"""Texts of a dead letter without argument values: those that were cut too."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest

from weighbridge.cli.dead.redaction import Redaction
from weighbridge.lanes.queue.dead_letters import ERROR_LIMIT, DeadLetter, DeadReason, letter_for
from weighbridge.lanes.queue.message_options import TRACEBACK_LIMIT
from weighbridge.lanes.queue.stream_message import Entry, StreamMessage


def letter_of(value: str, error: ValueError) -> DeadLetter:
    """The letter of a call with this argument, ended by ``error``, as a worker writes it."""
    message: dramatiq.Message[Any] = dramatiq.Message(
        queue_name="default", actor_name="shop.pay", args=(value,), kwargs={}, options={}
    )
    run = StreamMessage(message, entry=Entry(id="1-0", fields={b"m": message.encode()}))
    try:
        raise error
    except ValueError as raised:
        run.stuff_exception(raised)
    fields = letter_for(run, ttl_s=60).fields
    error_text, trace = fields["error"], fields["traceback"]
    assert isinstance(error_text, bytes)
    assert isinstance(trace, bytes)
    return DeadLetter(
        id=message.message_id,
        queue="default",
        task="shop.pay",
        reason=DeadReason.FAILED,
        error=error_text.decode(),
        traceback=trace.decode(),
        attempts=1,
        died_at_s=0.0,
        kept_for_s=60.0,
        body=message.encode(),
    )


def secret_of(size: int) -> str:
    return "".join(f"<{number}>" for number in range(size))[:size]


@pytest.mark.parametrize("before", ["no card ", "x" * (ERROR_LIMIT - len("ValueError: ") - 20)])
def test_a_value_that_was_cut_off_at_the_end_of_an_error_is_hidden(before: str) -> None:
    value = secret_of(3 * ERROR_LIMIT)
    letter = letter_of(value, ValueError(before + value))
    assert value[:10] in letter.error
    assert Redaction(letter).of(letter.error) == f"ValueError: {before}<hidden>"


def test_a_value_that_was_cut_off_at_the_begin_of_a_traceback_is_hidden() -> None:
    value = secret_of(3 * TRACEBACK_LIMIT)
    letter = letter_of(value, ValueError(f"{value} was declined"))
    assert letter.traceback is not None
    assert value[-100:] in letter.traceback
    assert Redaction(letter).of_traceback(letter.traceback) == "<hidden> was declined\n"


def test_an_error_that_was_not_cut_keeps_what_only_looks_like_the_begin_of_a_value() -> None:
    letter = letter_of("declined-4929-1608", ValueError("it was declined"))
    assert Redaction(letter).of(letter.error) == "ValueError: it was declined"
