from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from weighbridge.load.broker_sampler import BrokerSampler


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
