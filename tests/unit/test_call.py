"""The options of one call: what each may be, and which do not go together."""

from __future__ import annotations

import math
import re
from contextvars import Context
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from weighbridge.call import Call, CallOptions, new_call_id
from weighbridge.decision import Decision, Lane
from weighbridge.errors import OptionError
from weighbridge.lanes.queue.call_message import CallMessage
from weighbridge.lanes.queue.stream_message import Entry, StreamMessage
from weighbridge.lanes.queue.stream_queue import Letter, Write
from weighbridge.task import LONGEST_S


def test_a_call_id_is_a_random_uuid_as_text() -> None:
    ids = [new_call_id() for _ in range(1_000)]

    assert len(set(ids)) == 1_000
    for each in map(UUID, ids):
        assert (each.version, each.variant) == (4, RFC_4122)
    assert [str(UUID(each)) for each in ids] == ids


def test_seconds_up_to_the_limit_are_taken() -> None:
    options = CallOptions.checked(delay_s=LONGEST_S - 1, expires_s=LONGEST_S)

    assert options == CallOptions(delay_s=366 * 24 * 3600 - 1, expires_s=366 * 24 * 3600)


@pytest.mark.parametrize("option", ["delay_s", "expires_s"])
@pytest.mark.parametrize("value", [LONGEST_S + 0.5, 1e16, 10**400], ids=["just over", "far over", "no float"])
def test_more_seconds_than_a_broker_can_keep_are_refused_with_the_limit(option: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"was given {option}=\d.*; give at most 31,622,400 seconds \(366 days\)"):
        CallOptions.checked(**{option: value})


@pytest.mark.parametrize("option", ["delay_s", "expires_s"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, True, "60"])
def test_what_is_no_number_of_seconds_is_refused(option: str, value: Any) -> None:
    message = f"was given {option}={value!r}; give a finite number of seconds > 0"
    with pytest.raises(OptionError, match=re.escape(message)):
        CallOptions.checked(**{option: value})


@pytest.mark.parametrize("expires_s", [59, 60])
def test_a_call_that_would_expire_before_it_may_start_is_refused(expires_s: float) -> None:
    with pytest.raises(OptionError, match=rf"expires_s={expires_s} with delay_s=60, .* it would expire before it may"):
        CallOptions.checked(delay_s=60, expires_s=expires_s)


def test_a_delay_in_process_is_refused() -> None:
    with pytest.raises(OptionError, match="only the queue waits"):
        CallOptions.checked(delay_s=60, lane=Lane.IN_PROCESS)


def test_no_text_of_a_call_or_its_message_shows_an_argument() -> None:
    secret = "CARD-4242"
    call = Call(
        id="1",
        name="pay",
        func=len,
        args=(secret,),
        kwargs={"card": secret},
        spec=None,
        is_async=False,
        decision=Decision(lane=Lane.QUEUE, reason="a test", rule="test"),
        context=Context(),
        added_at_s=0.0,
        payload=([secret], {"card": secret}),
    )
    message = CallMessage(queue_name="q", actor_name="pay", args=(secret,), kwargs={}, options={}, message_id="1")
    held = StreamMessage(message, entry=Entry(id="1-0", fields={b"m": message.encode()}))
    write = Write(body=message.encode(), delay_ms=0)
    letter = Letter(id="1", fields={"body": message.encode()}, ttl_ms=1)
    for each in (call, message, held, write, letter, Entry(id="1-0", fields={b"m": message.encode()}), [message]):
        assert secret not in f"{each!r} {each}"
    assert (repr(message), str(held)) == ("<CallMessage pay (1)>", "pay (1)")
