from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from weighbridge.decision import BrokerReading
from weighbridge.load import broker_sampler
from weighbridge.load.broker_sampler import BROKER_STALE_S, BrokerSampler


def eventually(holds: Callable[[], bool], *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.005)
    return False


def test_the_broker_is_read_in_the_background_and_the_reading_has_an_age() -> None:
    now_s = 100.0
    sampler = BrokerSampler(waiting={"default": 4}.__getitem__, queues=lambda: ["default"], clock=lambda: now_s)
    assert sampler.reading("default", available=None).waiting is None
    sampler.start()
    try:
        assert eventually(lambda: sampler.reading("default", available=True).waiting == 4)
        now_s = 103.0
        reading = sampler.reading("default", available=True)
        assert reading.available is True
        assert reading.age_s == pytest.approx(3.0)
        assert sampler.reading("other", available=True).waiting is None
    finally:
        sampler.stop()


def test_a_queue_that_was_not_read_is_unknown_though_the_reading_has_an_age() -> None:
    sampler = BrokerSampler(waiting={"default": 4}.__getitem__, queues=lambda: ["default"], clock=lambda: 100.0)
    sampler.start()
    try:
        assert eventually(lambda: sampler.reading("default", available=True).waiting == 4)
        assert sampler.reading("declared.later", available=True) == BrokerReading(available=True, age_s=0.0)
    finally:
        sampler.stop()


class Hanging:
    """A broker that answers at once until it hangs, and the time on its clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.hangs = False
        self.asked = threading.Event()
        self.goes_on = threading.Event()

    def waiting(self, queue: str) -> int:
        if self.hangs:
            self.asked.set()
            self.goes_on.wait(5)
        return 4


def test_what_waits_is_unknown_when_the_read_hangs_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_sampler, "BROKER_INTERVAL_S", 0.01)
    broker = Hanging()
    sampler = BrokerSampler(waiting=broker.waiting, queues=lambda: ["default"], clock=lambda: broker.now_s)
    sampler.start()
    try:
        assert eventually(lambda: sampler.reading("default", available=True).waiting == 4)
        broker.hangs = True
        assert broker.asked.wait(5)
        broker.now_s += BROKER_STALE_S
        assert sampler.reading("default", available=True) == BrokerReading(True, 4, BROKER_STALE_S)
        broker.now_s += 1
        assert sampler.reading("default", available=True) == BrokerReading(True, None, BROKER_STALE_S + 1)
        # What an answer counts was true when it was asked for, or later.
        broker.hangs = False
        broker.goes_on.set()
        assert eventually(lambda: sampler.reading("default", available=True) == BrokerReading(True, 4, 0.0))
    finally:
        broker.goes_on.set()
        sampler.stop()


def test_a_number_is_as_old_as_the_question_for_it() -> None:
    now_s = 100.0

    def slow(queue: str) -> int:
        nonlocal now_s
        now_s += 2
        return 4

    sampler = BrokerSampler(waiting=slow, queues=lambda: ["default", "heavy"], clock=lambda: now_s)
    sampler.start()
    try:
        assert eventually(lambda: sampler.reading("default", available=True) == BrokerReading(True, 4, 4.0))
    finally:
        sampler.stop()


def test_a_read_that_fails_makes_what_waits_unknown_at_once_and_its_age_stays_that_of_the_last_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_sampler, "BROKER_INTERVAL_S", 0.01)
    counts = {"default": 4}
    sampler = BrokerSampler(waiting=counts.__getitem__, queues=lambda: ["default"], clock=lambda: 100.0)
    sampler.start()
    try:
        assert eventually(lambda: sampler.reading("default", available=True).waiting == 4)
        counts.clear()
        assert eventually(lambda: sampler.reading("default", available=True).waiting is None)
        assert sampler.reading("default", available=False) == BrokerReading(available=False, age_s=0.0)
    finally:
        sampler.stop()


def test_a_broker_that_cannot_be_read_is_unknown_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    read = threading.Event()

    def fails(queue: str) -> int:
        read.set()
        raise OSError("gone")

    sampler = BrokerSampler(waiting=fails, queues=lambda: ["default"], clock=time.monotonic)
    sampler.start()
    try:
        assert read.wait(5)
        assert eventually(lambda: "load.broker_not_read problem=OSError" in caplog.text)
        assert sampler.reading("default", available=False).waiting is None
    finally:
        sampler.stop()
