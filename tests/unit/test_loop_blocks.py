from __future__ import annotations

import pytest

from weighbridge.load.loop_blocks import NAMES_KEPT, OTHER_TASKS, LoopBlockCounter, LoopBlocks


def test_nothing_has_blocked_the_loop_at_first() -> None:
    assert LoopBlockCounter().by_task() == {}


def test_blocks_are_counted_by_task_with_the_longest_and_the_sum() -> None:
    counter = LoopBlockCounter()
    counter.note("render", 0.5)
    counter.note("audit", 0.25)
    counter.note("render", 0.25)
    assert counter.by_task() == {
        "render": LoopBlocks(blocks=2, longest_s=0.5, total_s=0.75),
        "audit": LoopBlocks(blocks=1, longest_s=0.25, total_s=0.25),
    }


def test_a_block_that_has_grown_is_counted_once() -> None:
    counter = LoopBlockCounter()
    counter.note("render", 2.0)
    now = counter.note("render", 3.5, counted_s=2.0)
    assert now == counter.by_task()["render"] == LoopBlocks(blocks=1, longest_s=3.5, total_s=3.5)


def test_numbers_that_were_read_do_not_change() -> None:
    counter = LoopBlockCounter()
    counter.note("render", 0.5)
    before = counter.by_task()
    counter.note("render", 0.5)
    counter.note("audit", 0.5)
    assert before == {"render": LoopBlocks(blocks=1, longest_s=0.5, total_s=0.5)}


def test_only_so_many_names_are_kept_apart() -> None:
    counter = LoopBlockCounter()
    for number in range(NAMES_KEPT + 10):
        counter.note(f"made.{number}", 0.5)
    counter.note("made.3", 0.5)
    counts = counter.by_task()
    assert len(counts) == NAMES_KEPT + 1
    assert counts["made.3"].blocks == 2
    assert counts[OTHER_TASKS].blocks == 10
    assert sum(each.total_s for each in counts.values()) == pytest.approx((NAMES_KEPT + 11) * 0.5)
