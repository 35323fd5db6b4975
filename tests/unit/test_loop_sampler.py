from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from weighbridge.load.loop_blocks import LoopBlockCounter
from weighbridge.load.loop_guard import LoopGuard
from weighbridge.load.loop_sampler import FIRST_LOOK_S, LATE_S, LOOP_INTERVAL_S, LOOP_STALE_S, LoopSampler
from weighbridge.load.loop_thread import Look

CALL = Look(task="app.render", call_id="1", lines=(("app.py", 3, "render"),))


def eventually(holds: Callable[[], bool], *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.005)
    return False


@contextmanager
def sampling(sampler: LoopSampler) -> Iterator[LoopSampler]:
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop()


def sampler_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "loop-sampler" in thread.name}


class Loop:
    """A loop that answers when a test says so, with its sampler, on a clock of its own and without a thread."""

    def __init__(self, *, guarded: bool = True, first_look_s: float = FIRST_LOOK_S) -> None:
        self.now_s = 100.0
        self.questions: list[Callable[[], None]] = []
        self.runs: Look | None = CALL
        self.looks = 0
        self.counter = LoopBlockCounter()
        guard = LoopGuard(look=self.look, block_s=0.1, counter=self.counter) if guarded else None
        self.sampler = LoopSampler(
            soon=self.questions.append, clock=lambda: self.now_s, guard=guard, first_look_s=first_look_s
        )
        self.wait_s = 0.0

    def look(self) -> Look | None:
        self.looks += 1
        return self.runs

    def poll(self, *, late_s: float = 0.0) -> None:
        """As the sampler's thread does, when it has waited, and ``late_s`` more."""
        self.now_s += self.wait_s + late_s
        self.wait_s = self.sampler.poll()

    def answer(self) -> None:
        self.questions.pop()()

    def lag_ms(self) -> float | None:
        return self.sampler.reading().lag_ms

    def age_s(self) -> float | None:
        return self.sampler.reading().age_s


# -- the lag ------------------------------------------------------------------------------------------------


def test_the_lag_of_a_loop_is_unknown_before_the_first_measurement() -> None:
    assert Loop().lag_ms() is None


def test_the_lag_is_the_time_from_the_question_to_the_answer() -> None:
    loop = Loop()
    loop.poll()
    loop.now_s += 0.002
    loop.answer()
    loop.now_s += 0.5
    assert loop.lag_ms() == pytest.approx(2)


def test_the_lag_of_a_blocked_loop_grows_while_it_blocks() -> None:
    loop = Loop()
    loop.poll()
    loop.now_s += 0.5
    assert loop.lag_ms() == pytest.approx(500)
    loop.now_s += 0.5
    assert loop.lag_ms() == pytest.approx(1_000)


def test_a_lag_that_has_just_begun_does_not_hide_the_longer_one_before_it() -> None:
    loop = Loop()
    loop.poll()
    loop.now_s += 0.04
    loop.answer()
    loop.poll()
    loop.poll()
    assert len(loop.questions) == 1
    loop.now_s += 0.001
    assert loop.lag_ms() == pytest.approx(40)


@pytest.mark.parametrize("polls", [1, 2])
def test_what_keeps_the_thread_from_asking_is_a_part_of_the_lag(polls: int) -> None:
    loop = Loop()
    for _ in range(polls):
        loop.poll()
        if loop.questions:
            loop.answer()
    loop.poll(late_s=0.5)  # as C code does that holds the interpreter
    loop.now_s += 0.01
    assert loop.lag_ms() == pytest.approx(510)
    loop.answer()
    assert loop.lag_ms() == pytest.approx(510)
    assert loop.counter.by_task() == {}


def test_what_the_loop_does_as_soon_as_it_is_asked_is_a_part_of_the_lag() -> None:
    loop = Loop()

    def answers_and_holds_the_interpreter(answer: Callable[[], None]) -> None:
        answer()
        loop.now_s += 3
        loop.sampler._soon = loop.questions.append

    loop.sampler._soon = answers_and_holds_the_interpreter
    loop.poll()
    assert loop.lag_ms() is None  # there was an answer, but it is stale
    loop.poll()
    assert loop.lag_ms() == pytest.approx(3_000)


def test_that_a_thread_wakes_a_little_late_is_no_lag() -> None:
    loop = Loop()
    loop.poll(late_s=0.9 * LATE_S)
    loop.now_s += 0.001
    loop.answer()
    assert loop.lag_ms() == pytest.approx(1)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_loop_that_answers_is_asked_every_fifty_milliseconds(guarded: bool) -> None:
    loop = Loop(guarded=guarded)
    asked_at_s: list[float] = []
    while len(asked_at_s) < 4:
        loop.poll()
        if loop.questions:
            asked_at_s.append(loop.now_s)
            loop.answer()
    assert asked_at_s == pytest.approx([100, 100.05, 100.1, 100.15])
    assert loop.looks == 0


def test_a_loop_that_does_not_answer_is_asked_once() -> None:
    loop = Loop()
    for _ in range(10):
        loop.poll()
    assert len(loop.questions) == 1


def test_without_a_guard_the_lag_of_a_blocked_loop_is_measured_all_the_same() -> None:
    loop = Loop(guarded=False)
    for _ in range(10):
        loop.poll()
    assert loop.lag_ms() == pytest.approx(410)


# -- its age ----------------------------------------------------------------------------------------------


def test_a_lag_that_was_never_measured_has_no_age() -> None:
    assert Loop().age_s() is None


def test_the_age_of_a_lag_is_counted_from_the_answer() -> None:
    loop = Loop()
    loop.poll()
    loop.now_s += 0.2
    loop.answer()
    assert loop.age_s() == pytest.approx(0)
    loop.now_s += 0.04
    assert loop.age_s() == pytest.approx(0.04)


def test_a_lag_that_grows_is_measured_at_this_moment_however_long_it_lasts() -> None:
    loop = Loop()
    loop.poll()
    loop.now_s += 10 * LOOP_STALE_S
    assert loop.lag_ms() == pytest.approx(10_000 * LOOP_STALE_S)
    assert loop.age_s() == 0


def test_the_lag_is_unknown_when_the_thread_got_no_turn_to_ask_for_too_long() -> None:
    loop = Loop()
    loop.poll()
    loop.answer()
    loop.now_s += LOOP_STALE_S
    assert loop.lag_ms() == 0
    loop.now_s += 0.001
    assert loop.lag_ms() is None
    assert loop.age_s() == pytest.approx(LOOP_STALE_S + 0.001)


def test_it_is_known_again_as_soon_as_the_thread_asks_and_the_time_without_a_turn_is_a_part_of_it() -> None:
    loop = Loop()
    loop.poll()
    loop.answer()
    loop.poll(late_s=3)
    assert loop.lag_ms() == pytest.approx(3_000)
    assert loop.age_s() == 0


def test_a_long_lag_of_long_ago_does_not_hide_the_one_that_grows_now() -> None:
    loop = Loop()
    while loop.now_s < 108:
        loop.poll()
    loop.answer()
    while not loop.questions:  # until it is asked again
        loop.poll()
    assert loop.lag_ms() == pytest.approx(8_000, rel=0.01)
    loop.now_s += LOOP_STALE_S
    assert loop.lag_ms() == pytest.approx(1_000 * LOOP_STALE_S)


# -- the guard ----------------------------------------------------------------------------------------------


def test_the_guard_looks_ten_milliseconds_after_the_question_and_then_as_often_as_it_says() -> None:
    loop = Loop()
    looked_at_s: list[float] = []
    for _ in range(5):
        loop.poll()
        if loop.looks > len(looked_at_s):
            looked_at_s.append(loop.now_s)
    assert looked_at_s == pytest.approx([100.01, 100.03, 100.05, 100.07])


def test_a_call_has_blocked_the_loop_from_the_question_to_the_answer() -> None:
    loop = Loop()
    for _ in range(8):
        loop.poll()
    loop.now_s += 0.005
    loop.answer()
    loop.poll()
    assert loop.counter.by_task()["app.render"].longest_s == pytest.approx(0.135)


def test_a_thread_that_looks_only_when_it_would_ask_again_wakes_no_more_often_than_it_asks() -> None:
    """Each time it takes the interpreter from a loop that may be busy."""
    loop = Loop(first_look_s=LOOP_INTERVAL_S)
    for _ in range(4):
        loop.poll()
        assert loop.wait_s == LOOP_INTERVAL_S
        loop.answer()
    assert loop.looks == 0


def test_it_finds_a_block_all_the_same() -> None:
    loop = Loop(first_look_s=LOOP_INTERVAL_S)
    for _ in range(5):
        loop.poll()
    loop.answer()
    loop.poll()
    assert loop.looks == 4
    assert loop.counter.by_task()["app.render"].longest_s == pytest.approx(LOOP_INTERVAL_S + 3 * 0.02)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("block_s", "first_look_s"), [(0.0, LOOP_INTERVAL_S), (0.02, FIRST_LOOK_S), (0.1, LOOP_INTERVAL_S)]
)
async def test_it_looks_sooner_only_for_a_block_that_may_be_over_before_it_asks_again(
    block_s: float, first_look_s: float
) -> None:
    sampler = LoopSampler.of_running_loop(clock=lambda: 0.0, block_s=block_s, counter=LoopBlockCounter())
    assert sampler._first_look_s == first_look_s


def test_a_thread_that_wakes_late_does_not_count_what_it_has_not_seen() -> None:
    loop = Loop()
    for _ in range(8):
        loop.poll()
    loop.poll(late_s=3.0)
    loop.answer()
    loop.poll()
    assert loop.counter.by_task()["app.render"].longest_s == pytest.approx(0.15)


def test_an_answer_that_is_seen_late_is_no_block() -> None:
    loop = Loop()
    for _ in range(3):
        loop.poll()
    loop.now_s += 3
    loop.answer()
    loop.poll()
    assert loop.counter.by_task() == {}


def test_a_block_beside_threads_that_compute_counts_without_the_time_that_they_took() -> None:
    loop = Loop()
    waited_s = 0.0
    for _ in range(8):
        waited_s += loop.wait_s
        loop.poll(late_s=0.9 * LATE_S)
    loop.answer()
    loop.poll()
    assert loop.counter.by_task()["app.render"].longest_s == pytest.approx(waited_s)


def test_time_that_it_takes_to_tell_does_not_make_it_late(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loop.now_s += 1

    handler = Slow()
    logger = logging.getLogger("weighbridge.in_process")
    logger.addHandler(handler)
    try:
        while not caplog.records:  # it is told after two seconds
            loop.poll()
        told_after_s = loop.now_s - 100
        loop.poll()
        seen_after_s = loop.now_s - 100
    finally:
        logger.removeHandler(handler)
    assert loop.counter.by_task()["app.render"].longest_s == pytest.approx(seen_after_s)
    assert seen_after_s > told_after_s


def test_a_guard_that_fails_is_told_once_and_the_lag_is_measured_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Loop):
        def look(self) -> Look | None:
            raise LookupError("no such frame")

    loop = Broken()
    for _ in range(10):
        loop.poll()
    loop.answer()
    loop.poll()
    (record,) = caplog.records
    assert record.getMessage() == "load.loop_guard_failed"
    assert "no such frame" in caplog.text
    assert loop.lag_ms() is not None


# -- the thread ---------------------------------------------------------------------------------------------


def test_a_loop_that_answers_at_once_has_a_lag() -> None:
    with sampling(LoopSampler(soon=lambda answer: answer(), clock=time.monotonic)) as sampler:
        assert eventually(lambda: sampler.reading().lag_ms is not None)


def test_sampling_ends_when_it_is_stopped() -> None:
    before = sampler_threads()
    with sampling(LoopSampler(soon=lambda answer: answer(), clock=time.monotonic)):
        assert len(sampler_threads() - before) == 1
    assert eventually(lambda: sampler_threads() <= before)


def test_sampling_ends_with_the_loop() -> None:
    before = sampler_threads()
    asked = threading.Event()

    def closed(answer: Callable[[], None]) -> None:
        asked.set()
        raise RuntimeError("Event loop is closed")

    with sampling(LoopSampler(soon=closed, clock=time.monotonic)):
        assert asked.wait(5)
        assert eventually(lambda: sampler_threads() <= before)


def test_a_block_that_ends_when_sampling_does_is_counted() -> None:
    counter = LoopBlockCounter()
    looks: list[None] = []

    def look() -> Look:
        looks.append(None)
        return CALL

    guard = LoopGuard(look=look, block_s=0.01, counter=counter)
    with sampling(LoopSampler(soon=lambda answer: None, clock=time.monotonic, guard=guard)):
        assert eventually(lambda: len(looks) > 10)
        assert counter.by_task() == {}  # it goes on
    assert eventually(lambda: "app.render" in counter.by_task())
