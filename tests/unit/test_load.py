from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from weighbridge.load import BrokerSampler, LoopSampler


def eventually(holds: Callable[[], bool], *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.005)
    return False


@contextmanager
def loop_sampler(soon: Callable[[Callable[[], None]], object]) -> Iterator[LoopSampler]:
    sampler = LoopSampler(soon=soon, clock=time.monotonic)
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop()


def test_the_lag_of_a_loop_is_unknown_before_the_first_measurement() -> None:
    assert LoopSampler(soon=lambda answer: None, clock=time.monotonic).reading().lag_ms is None


def test_a_loop_that_answers_at_once_has_next_to_no_lag() -> None:
    with loop_sampler(lambda answer: answer()) as sampler:
        assert eventually(lambda: sampler.reading().lag_ms is not None)


def test_the_lag_of_a_blocked_loop_grows_while_it_blocks() -> None:
    with loop_sampler(lambda answer: None) as sampler:  # takes the question, and does not come to answer it
        assert eventually(lambda: (sampler.reading().lag_ms or 0) > 50)
        first = sampler.reading().lag_ms or 0
        assert eventually(lambda: (sampler.reading().lag_ms or 0) > first + 50)


def test_sampling_ends_with_the_loop() -> None:
    asked = threading.Event()

    def closed(answer: Callable[[], None]) -> None:
        asked.set()
        raise RuntimeError("Event loop is closed")

    with loop_sampler(closed):
        assert asked.wait(5)
        assert eventually(lambda: not any("loop-sampler" in thread.name for thread in threading.enumerate()))


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
