from __future__ import annotations

import dramatiq
import pytest
import redis

from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.leases import GATHER_S, Leases
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.stream_message import Entry, StreamMessage
from weighbridge.lanes.queue.stream_queue import StreamQueue, Write

MESSAGE = dramatiq.Message[None](queue_name="default", actor_name="f", args=(), kwargs={}, options={}, message_id="id")
RETRY = Write(body=b"retry", delay_ms=10)


def entry(number: int) -> Entry:
    return Entry(id=f"{number}-0", fields={b"m": MESSAGE.encode()})


@pytest.fixture
def leases() -> Leases:
    client = redis.Redis()  # nothing is sent
    keys = QueueKeys(namespace="shop", queue="default")
    leases = Leases(StreamQueue(client=client, scripts=Scripts(client), keys=keys, consumer="me"))
    leases.take([entry(1)], at_s=0.0)
    leases.name("1-0", message_id="id")
    return leases


def test_what_follows_from_a_held_message_is_kept_until_it_is_settled(leases: Leases) -> None:
    assert leases.add_follow_up(MESSAGE, RETRY, message_id="id")

    assert leases.settle("1-0") == [RETRY]


def test_what_follows_is_found_by_the_entry_of_the_message_that_ran(leases: Leases) -> None:
    leases.take([entry(2)], at_s=0.0)
    leases.name("2-0", message_id="id")  # the same message a second time

    assert leases.add_follow_up(StreamMessage(MESSAGE, entry=entry(2)), RETRY, message_id="id")

    assert leases.settle("1-0") == []
    assert leases.settle("2-0") == [RETRY]


def test_a_message_that_is_not_held_has_no_follow_up(leases: Leases) -> None:
    assert not leases.add_follow_up(MESSAGE, RETRY, message_id="another")
    assert not leases.add_follow_up(StreamMessage(MESSAGE, entry=entry(2)), RETRY, message_id="id")


def test_nothing_is_added_to_a_message_whose_end_is_on_its_way_to_the_server(leases: Leases) -> None:
    leases.settle("1-0")

    assert not leases.add_follow_up(MESSAGE, RETRY, message_id="id")
    assert not leases.add_follow_up(StreamMessage(MESSAGE, entry=entry(1)), RETRY, message_id="id")


def test_an_end_that_is_sent_again_takes_the_same_along(leases: Leases) -> None:
    leases.add_follow_up(MESSAGE, RETRY, message_id="id")
    leases.settle("1-0")

    assert leases.settle("1-0") == [RETRY]


def test_the_next_delivery_takes_the_follow_up_while_the_last_one_is_being_settled(leases: Leases) -> None:
    leases.settle("1-0")
    leases.take([entry(2)], at_s=0.0)
    leases.name("2-0", message_id="id")

    assert leases.add_follow_up(MESSAGE, RETRY, message_id="id")

    assert leases.settle("2-0") == [RETRY]


def test_there_is_no_room_at_the_limit_and_room_again_after_a_release(leases: Leases) -> None:
    assert leases.wait_for_room(1, timeout_s=0) == 0

    leases.release(["1-0"])

    assert leases.wait_for_room(1, timeout_s=0) == 1


def test_room_that_comes_bit_by_bit_is_gathered(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    slept_s: list[float] = []

    def settle_another(seconds: float) -> None:
        slept_s.append(seconds)
        leases.release([f"{1 + len(slept_s)}-0"])

    monkeypatch.setattr("weighbridge.lanes.queue.leases.time.sleep", settle_another)
    leases.take([entry(number) for number in range(2, 8)], at_s=0.0)

    assert leases.wait_for_room(8, timeout_s=0) == 1, "the first answer is not waited for"
    assert leases.wait_for_room(8, timeout_s=0) == 2, "the next one, at once, is"
    assert slept_s == [GATHER_S]


def test_room_for_half_of_what_may_be_held_is_given_at_once(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.lanes.queue.leases.time.sleep", lambda _: pytest.fail("waited"))

    assert leases.wait_for_room(2, timeout_s=0) == 1
    assert leases.wait_for_room(2, timeout_s=0) == 1
