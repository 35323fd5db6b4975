from __future__ import annotations

import logging

import pytest

from weighbridge.load.loop_blocks import NAMES_KEPT, LoopBlockCounter
from weighbridge.load.loop_guard import STACKS_KEPT, LoopGuard
from weighbridge.load.loop_thread import Look

A = Look(task="app.a", call_id="1", lines=(("app.py", 3, "a"), ("app.py", 9, "helper")))
B = Look(task="app.b", call_id="2", lines=(("app.py", 20, "b"),))


def another_call(of: Look) -> Look:
    return Look(task=of.task, call_id=f"{of.call_id} too", lines=of.lines)


class Watch:
    """A guard, and what runs on the loop that it looks at; the clock is the test's."""

    def __init__(self, *, block_s: float = 0.1) -> None:
        self.now_s = 50.0
        self.counter = LoopBlockCounter()
        self.guard = LoopGuard(look=lambda: self.runs, block_s=block_s, counter=self.counter)
        self.runs: Look | None = None
        self.asked_at_s = self.now_s

    def ask(self) -> None:
        self.asked_at_s = self.now_s

    def look(self, runs: Look | None, after_s: float = 0.02, *, late_s: float = 0.0) -> None:
        self.now_s += after_s
        self.runs = runs
        self.guard.unanswered(asked_at_s=self.asked_at_s, now_s=self.now_s, late_s=late_s)

    def answer(self, after_s: float = 0.0, *, late_s: float = 0.0) -> None:
        self.now_s += after_s
        self.guard.answered(self.now_s, late_s=late_s)

    def block(self, runs: Look, lasts_s: float) -> None:
        """It runs from the question to the answer, and is looked at often."""
        self.ask()
        looks = round(lasts_s / 0.0625)  # a binary fraction, so that sums of it are exact
        for _ in range(looks):
            self.look(runs, lasts_s / looks)
        self.answer()

    def blocks(self) -> dict[str, int]:
        return {task: each.blocks for task, each in self.counter.by_task().items()}


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# -- what is found ------------------------------------------------------------------------------------------


def test_a_block_is_told_when_it_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    watch.ask()
    watch.look(A, 0.01)
    watch.look(A, 0.15)
    assert told(caplog) == []
    watch.answer(0.09)
    (record,) = caplog.records
    assert record.getMessage() == (
        "in_process.loop_blocked task=app.a call_id=1 blocked_ms=250 longest_ms=250 blocks=1 ended=True"
    )
    assert (record.levelno, record.name) == (logging.WARNING, "weighbridge.in_process")
    assert vars(record)["event"] == "in_process.loop_blocked"
    assert (record.filename, record.funcName) == ("loop_guard.py", "_note")


def test_the_stack_stands_on_the_record_from_the_function_of_the_task_down(caplog: pytest.LogCaptureFixture) -> None:
    Watch().block(A, 0.2)
    (record,) = caplog.records
    assert record.stack_info == (
        'Stack (most recent call last):\n  File "app.py", line 3, in a\n  File "app.py", line 9, in helper'
    )
    assert record.stack_info in caplog.text


def test_the_stack_is_the_one_that_most_looks_have_found(caplog: pytest.LogCaptureFixture) -> None:
    elsewhere, at_last = (
        Look(task=A.task, call_id=A.call_id, lines=(("app.py", 99, function),)) for function in ("elsewhere", "at_last")
    )
    watch = Watch()
    watch.ask()
    for runs in (elsewhere, A, A, A, elsewhere, elsewhere, A, elsewhere, A, elsewhere, A, at_last):
        watch.look(runs)
    watch.answer()
    (record,) = caplog.records
    assert "helper" in (record.stack_info or "")
    assert 'app.py", line 99' not in (record.stack_info or "")


def test_of_a_block_whose_every_look_finds_another_stack_only_the_first_stacks_are_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks = [Look(task=A.task, call_id=A.call_id, lines=(("app.py", line, "a"),)) for line in range(STACKS_KEPT)]
    watch = Watch()
    watch.ask()
    for runs in (*looks, A, A):
        watch.look(runs)
    watch.answer()
    assert (caplog.records[-1].stack_info or "").endswith('File "app.py", line 0, in a')


def test_a_block_that_is_shorter_than_the_setting_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(block_s=0.5)
    watch.block(A, 0.49)
    assert (watch.blocks(), told(caplog)) == ({}, [])
    watch.block(A, 0.51)
    assert watch.blocks() == {"app.a": 1}


def test_one_look_accuses_nobody() -> None:
    watch = Watch()
    watch.ask()
    watch.look(A, 5.0)
    watch.answer(5.0)
    assert watch.blocks() == {}


def test_looks_at_two_questions_make_no_block() -> None:
    watch = Watch()
    for _ in range(20):
        watch.ask()
        watch.look(A, 0.09)
        watch.answer()
    assert watch.blocks() == {}


def test_calls_that_take_turns_on_a_starved_loop_are_not_accused() -> None:
    watch = Watch()
    watch.ask()
    for _ in range(50):
        watch.look(A)
        watch.look(B)
    watch.answer()
    assert watch.blocks() == {}


def test_calls_of_one_task_that_take_turns_are_not_one_block() -> None:
    watch = Watch()
    watch.ask()
    for _ in range(50):
        watch.look(A)
        watch.look(another_call(A))
    watch.answer()
    assert watch.blocks() == {}


def test_what_is_no_call_accuses_nobody_and_ends_the_block_of_a_call() -> None:
    watch = Watch()
    watch.ask()
    for _ in range(10):
        watch.look(A)
        watch.look(A)
        watch.look(None)
    watch.look(None, 9.0)
    watch.answer()
    assert watch.blocks() == {}


def test_two_calls_that_block_one_after_the_other_are_both_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    watch.ask()
    for runs in (A, B):
        for _ in range(20):
            watch.look(runs)
    watch.answer()
    assert [vars(record)["task"] for record in caplog.records] == ["app.a", "app.b"]
    assert [vars(record)["blocked_ms"] for record in caplog.records] == [400, 380]  # of B from its first look


def test_what_a_late_thread_has_not_seen_does_not_count() -> None:
    watch = Watch()
    watch.ask()
    watch.look(A, 9.0, late_s=9.0)
    watch.look(A, 0.04)
    watch.look(A, 9.0, late_s=9.0)
    watch.look(A, 0.04)
    watch.answer(9.0, late_s=9.0)
    assert watch.blocks() == {}


def test_a_call_of_short_steps_beside_threads_that_compute_is_not_named() -> None:
    """Its step takes 90 ms, for it has the interpreter in turn with eight others; so has the thread that looks."""
    watch = Watch()
    watch.ask()
    for _ in range(3):
        watch.look(A, 0.06, late_s=0.04)
    watch.answer(0.05, late_s=0.05)
    assert watch.blocks() == {}


def test_a_block_beside_threads_that_compute_is_told_as_shorter_than_it_was(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    watch.ask()
    for _ in range(6):
        watch.look(A, 0.0625, late_s=0.03125)
    watch.answer()
    assert [vars(record)["blocked_ms"] for record in caplog.records] == [188]


def test_a_block_is_one_block_though_the_thread_was_late_in_its_midst(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    watch.ask()
    watch.look(A, 0.1)
    watch.look(A, 9.0, late_s=9.0)
    watch.look(A, 0.1)
    watch.answer(0.05)
    assert watch.blocks() == {"app.a": 1}
    assert vars(caplog.records[0])["blocked_ms"] == 250


@pytest.mark.parametrize(
    ("block_s", "lasts_s", "again_s"),
    [
        (0.1, 0.01, 0.02),
        (0.1, 0.15, 0.02),
        (0.1, 0.25, 0.05),
        (0.001, 0.01, 0.01),
        (0.001, 0.09, 0.01),
        (0.001, 0.11, 0.05),
        (0.2, 0.01, 0.04),
        (60, 0.01, 0.05),
    ],
)
def test_the_loop_is_looked_at_several_times_in_the_shortest_block_that_is_told(
    block_s: float, lasts_s: float, again_s: float
) -> None:
    guard = LoopGuard(look=lambda: None, block_s=block_s, counter=LoopBlockCounter())
    assert guard.unanswered(asked_at_s=50.0, now_s=50.0 + lasts_s, late_s=0.0) == pytest.approx(again_s)


# -- how often it is told -----------------------------------------------------------------------------------


def test_a_long_block_is_told_while_it_lasts_and_when_it_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    watch.block(A, 3.0)
    assert [(vars(record)["blocked_ms"], vars(record)["ended"]) for record in caplog.records] == [
        (2_000, False),
        (3_000, True),
    ]
    assert {vars(record)["blocks"] for record in caplog.records} == {1}
    assert watch.counter.by_task()["app.a"].total_s == pytest.approx(3.0)


def test_no_block_is_told_before_it_is_as_long_as_the_setting(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(block_s=5.0)
    watch.block(A, 4.0)
    assert (watch.blocks(), told(caplog)) == ({}, [])
    watch.block(A, 6.0)
    assert [vars(record)["ended"] for record in caplog.records] == [False, True]
    assert vars(caplog.records[0])["blocked_ms"] >= 5_000


def test_a_block_without_end_is_told_when_it_has_doubled_and_then_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    watch.ask()
    for _ in range(240):
        watch.look(A, 1.0)
    assert [vars(record)["blocked_ms"] / 1_000 for record in caplog.records] == [2, 4, 8, 16, 32, 64, 124, 184]
    assert watch.blocks() == {"app.a": 1}
    assert watch.counter.by_task()["app.a"].longest_s == pytest.approx(240)


def test_a_task_that_blocks_all_the_time_is_told_once_a_minute_and_counted_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    for _ in range(600):
        watch.block(A, 0.1875)
        watch.now_s += 0.0625
    assert watch.now_s - 50 == 150
    assert [vars(record)["blocks"] for record in caplog.records] == [1, 241, 481]
    assert watch.blocks() == {"app.a": 600}


def test_a_block_that_is_twice_as_long_as_the_longest_that_was_told_is_told_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    for lasts_s in (0.2, 0.3, 0.5, 0.4, 0.9, 1.1):
        watch.block(A, lasts_s)
    assert [vars(record)["blocked_ms"] for record in caplog.records] == [200, 500, 1_100]
    assert [vars(record)["longest_ms"] for record in caplog.records] == [200, 500, 1_100]


def test_each_task_is_told_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for runs in (A, B, A, B):
        watch.block(runs, 0.2)
    assert [vars(record)["task"] for record in caplog.records] == ["app.a", "app.b"]


def test_what_is_remembered_of_tasks_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for number in range(NAMES_KEPT + 20):
        watch.block(Look(task=f"made.{number}", call_id="1", lines=A.lines), 0.2)
    assert len(caplog.records) == NAMES_KEPT + 1  # those beyond are told as one
    assert len(watch.counter.by_task()) == NAMES_KEPT + 1
