from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from weighbridge.worker.running_table import RunningCall, RunningTable, overdue


def call(**changes: object) -> RunningCall:
    values = {
        "queue": "default",
        "entry_id": "1-0",
        "task": "app.render",
        "call_id": "id",
        "started_s": 5.0,
        "limit_s": 60.0,
    }
    return RunningCall(**{**values, **changes})  # type: ignore[arg-type]  # the test's own values


@pytest.fixture
def table() -> Iterator[RunningTable]:
    table = RunningTable.create(slots=2)
    yield table
    table.close()


def test_a_new_table_is_empty(table: RunningTable) -> None:
    assert table.read() == []
    assert table.beat_s == 0
    assert not table.is_stopping


def test_a_call_stands_in_its_slot_until_it_is_cleared(table: RunningTable) -> None:
    table.write(0, call())
    table.write(1, call(entry_id="2-0", limit_s=math.inf))
    assert table.read() == [call(), call(entry_id="2-0", limit_s=math.inf)]

    table.clear(0)

    assert table.read() == [call(entry_id="2-0", limit_s=math.inf)]


def test_a_slot_whose_writer_died_in_the_middle_reads_as_empty(table: RunningTable) -> None:
    table.write(0, call())
    written = table._memory[:]
    table.write(0, call(entry_id="2-0"))
    changed = [at for at, (old, new) in enumerate(zip(written, table._memory[:], strict=True)) if old != new]
    for at in changed:
        table._memory[at] = written[at]
        if at != changed[-1]:
            assert table.read() == []
    assert table.read() == [call()]


def test_what_another_process_wrote_is_there_after_its_death(table: RunningTable) -> None:
    script = f"""
import os, signal
from weighbridge.worker.running_table import RunningCall, RunningTable
table = RunningTable.attach({table.fileno()}, slots=2)
table.beat()
table.stop()
table.write(1, RunningCall(queue="default", entry_id="1-0", task="app.render", call_id="id", started_s=5, limit_s=60))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], pass_fds=[table.fileno()], check=False)

    assert table.read() == [call()]
    assert table.beat_s > 0
    assert table.is_stopping


def test_long_names_are_cut_and_an_impossible_queue_is_left_out(table: RunningTable) -> None:
    table.write(0, call(task="ä" * 500, call_id="x" * 500))
    table.write(1, call(queue="q" * 2_000))

    assert table.read() == [call(task="ä" * 60, call_id="x" * 60)]


def test_its_descriptor_is_not_for_programs_that_tasks_start(table: RunningTable) -> None:
    attached = RunningTable.attach(os.dup(table.fileno()), slots=2)

    assert not os.get_inheritable(attached.fileno())
    attached.close()


def test_a_call_is_overdue_after_its_limit_and_the_margin() -> None:
    calls = [call(), call(limit_s=math.inf)]

    assert overdue(calls, now_s=70, margin_s=15) == []
    assert overdue(calls, now_s=81, margin_s=15) == [call()]
