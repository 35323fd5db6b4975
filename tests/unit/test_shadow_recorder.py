"""The recorder: each count reaches the store once, whatever the store does meanwhile."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from weighbridge.arguments import ArgumentCodec
from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import BrokerError
from weighbridge.policy import load_policy
from weighbridge.shadow import Recorder, ShadowCounter, evidence_of
from weighbridge.shadow.file_store import FileStore
from weighbridge.shadow.recorder import KEPT_AGAIN, NOT_KEPT, Writer
from weighbridge.shadow.store import Delta
from weighbridge.task import TaskSpec

DAY = date(2026, 11, 28)
DECISION = Decision(Lane.IN_PROCESS, "r", "otherwise", "v1")


def report() -> None: ...


SPEC = TaskSpec(name="app.report", func=report, is_async=False, codec=ArgumentCodec(report, task="app.report"))


class MemoryStore:
    """Keeps what it is given, as every store does; ``fails`` is asked before, ``loses`` after."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.deltas: list[Delta] = []
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def add(self, delta: Delta) -> None:
        self.before()
        if int(self.fields.get(delta.writer, "0")) < delta.number:
            self.deltas.append(delta)
            self.fields[delta.writer] = f"{delta.number}"
            for field, calls in delta.added.items():
                self.fields[field] = f"{int(self.fields.get(field, '0')) + calls}"
            times = {name: f"{value}" for name, value in [*delta.lowest.items(), *delta.highest.items()]}
            self.fields = {**self.fields, **times, **delta.named}
        self.after()

    def read(self, day: date) -> Mapping[str, str]:
        return self.fields

    @property
    def calls(self) -> int:
        return sum(found.calls for found in evidence_of([self.fields]).comparisons)


#: Forks as gunicorn does with --preload: after the import, and before anything is opened.
FORKING = """
import os, sys
from pathlib import Path
from weighbridge.arguments import ArgumentCodec
from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy import load_policy
from weighbridge.shadow import Recorder, ShadowCounter
from weighbridge.shadow.file_store import FileStore
from weighbridge.task import TaskSpec

def report(): ...

spec = TaskSpec(name="app.report", func=report, is_async=False, codec=ArgumentCodec(report, task="app.report"))
shadow = ShadowCounter(load_policy("all-queued"))
recorder = Recorder(shadow)
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        recorder.start(FileStore(Path(sys.argv[1])))
        for _ in range(2):
            shadow.compare(spec, 1.0, Decision(Lane.IN_PROCESS, "r", "otherwise", "v1"), lambda _: Facts())
        recorder.stop()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


def at(hour: int) -> datetime:
    return datetime(2026, 11, 28, hour, tzinfo=UTC)


def delta_fields(recorder: Recorder) -> dict[str, str]:
    """What the store would be given that has not confirmed it."""
    kept, writer = MemoryStore(), Writer()
    recorder.write(kept, writer)
    return kept.fields


def away() -> None:
    raise BrokerError(broker="redis nowhere", problem="cannot be reached", remedy="start it")


def broken() -> None:
    raise ZeroDivisionError("of somebody else")


def asked(shadow: ShadowCounter, times: int = 1) -> None:
    for _ in range(times):
        shadow.compare(SPEC, 1.0, DECISION, lambda _: Facts())


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "event", "") for record in caplog.records if record.name == "weighbridge.shadow"]


@pytest.fixture
def shadow() -> ShadowCounter:
    return ShadowCounter(load_policy("all-queued"))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_each_write_adds_what_has_come_since_the_last_one(shadow: ShadowCounter, store: MemoryStore) -> None:
    recorder, writer = Recorder(shadow), Writer()
    for times in (3, 0, 2):
        asked(shadow, times)
        assert recorder.write(store, writer)
    assert (store.calls, len(store.deltas)) == (5, 2)
    assert shadow.counts[0].calls == 5, "the counts in memory stay"


def test_where_both_policies_come_from_is_kept(shadow: ShadowCounter, store: MemoryStore) -> None:
    shadow.beside(load_policy("by-weight"), "v1")
    asked(shadow)
    Recorder(shadow).write(store, Writer())
    (found,) = evidence_of([store.fields]).comparisons
    assert (found.policy, found.shadow_policy) == ("by-weight (shipped)", "all-queued (shipped)")


@pytest.mark.parametrize("failure", [away, broken])
def test_counts_wait_for_a_store_that_is_away_and_one_warning_says_so(
    shadow: ShadowCounter, store: MemoryStore, caplog: pytest.LogCaptureFixture, failure: Callable[[], None]
) -> None:
    caplog.set_level(logging.INFO)
    recorder, writer = Recorder(shadow), Writer()
    store.before = failure
    for _ in range(3):
        asked(shadow)
        assert not recorder.write(store, writer)
    store.before = lambda: None
    assert recorder.write(store, writer)
    assert store.calls == 3
    assert logged(caplog) == [NOT_KEPT, KEPT_AGAIN]


def test_a_write_whose_answer_is_lost_counts_once(shadow: ShadowCounter, store: MemoryStore) -> None:
    recorder, writer = Recorder(shadow), Writer()
    store.after = away
    asked(shadow, 2)
    assert not recorder.write(store, writer)
    store.after = lambda: None
    asked(shadow)
    assert recorder.write(store, writer)
    assert store.calls == 3


def test_while_it_runs_it_writes_again_and_again(shadow: ShadowCounter, store: MemoryStore) -> None:
    recorder = Recorder(shadow, write_every_s=0.01)
    written = threading.Event()
    store.after = written.set
    recorder.start(store)
    for times in (1, 2):
        written.clear()
        asked(shadow, times)
        assert written.wait(10)
    recorder.stop()
    assert store.calls == 3


def test_the_end_writes_what_is_left(shadow: ShadowCounter, store: MemoryStore) -> None:
    recorder = Recorder(shadow)
    recorder.start(store)
    asked(shadow, 4)
    recorder.stop()
    assert store.calls == 4
    recorder.stop()  # a second one does nothing


def test_what_could_not_be_kept_at_the_end_is_said_and_kept_after_the_next_start(
    shadow: ShadowCounter, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(shadow)
    store.before = away
    recorder.start(store)
    asked(shadow, 4)
    recorder.stop()
    assert [getattr(record, "calls", None) for record in caplog.records] == [4, 4]
    store.before = lambda: None
    recorder.start(store)
    asked(shadow)
    recorder.stop()
    assert store.calls == 5


def test_a_store_that_hangs_does_not_keep_the_service_from_its_end(
    shadow: ShadowCounter, store: MemoryStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.shadow.recorder.LAST_WRITE_S", 0.05)
    answers = threading.Event()
    store.before = lambda: answers.wait(30)
    recorder = Recorder(shadow)
    recorder.start(store)
    asked(shadow)
    recorder.stop()
    assert logged(caplog) == [NOT_KEPT]
    answers.set()


def test_a_delta_that_cannot_be_made_is_tried_again_and_nothing_is_lost(
    shadow: ShadowCounter, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, writer = Recorder(shadow), Writer()
    asked(shadow, 3)
    with monkeypatch.context() as broken_fields:
        broken_fields.setattr("weighbridge.shadow.recorder.delta_of", lambda *_, **__: broken())
        assert not recorder.write(store, writer)
    assert recorder.write(store, writer)
    assert store.calls == 3


def test_a_comparison_begins_with_the_time_in_which_its_calls_came(shadow: ShadowCounter, store: MemoryStore) -> None:
    times = iter([at(0), at(1), at(2), at(3)])
    recorder, writer = Recorder(shadow, now=lambda: next(times)), Writer()
    assert recorder.write(store, writer)  # nothing yet
    asked(shadow)
    store.before = away
    assert not recorder.write(store, writer)
    (found,) = evidence_of([delta_fields(recorder)]).comparisons
    assert (found.since, found.until) == (at(1), at(2))


def test_processes_that_were_forked_after_the_import_are_told_apart(tmp_path: Path) -> None:
    script = tmp_path / "forking.py"
    script.write_text(FORKING)
    subprocess.run([sys.executable, script, tmp_path / "shadow.sqlite3"], check=True, timeout=60)
    store = FileStore(tmp_path / "shadow.sqlite3")
    (found,) = evidence_of([store.read(datetime.now(UTC).date() - timedelta(days=ago)) for ago in (0, 1)]).comparisons
    assert found.calls == 3 * 2


def test_counting_goes_on_beside_writing_and_none_is_counted_twice(shadow: ShadowCounter, store: MemoryStore) -> None:
    recorder = Recorder(shadow, write_every_s=0.001)
    recorder.start(store)
    threads = [threading.Thread(target=asked, args=(shadow, 500)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.stop()
    assert store.calls == 2_000


def test_calls_beyond_the_last_row_are_counted_as_such(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.shadow.counter.MOST_KEPT", 2)
    shadow = ShadowCounter(load_policy("all-queued"))
    for rule in ("a", "b", "c", "a", "d"):
        shadow.compare(SPEC, 1.0, Decision(Lane.QUEUE, "r", rule, "v1"), lambda _: Facts())
    Recorder(shadow).write(store, Writer())
    (found,) = evidence_of([store.fields]).comparisons
    assert (shadow.uncounted, found.uncounted, found.calls) == (2, 2, 3)
    assert {count.rule: count.calls for count in found.counts} == {"a": 2, "b": 1}


def test_the_rows_of_a_policy_that_was_replaced_leave_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.shadow.counter.MOST_KEPT", 2)
    shadow = ShadowCounter(load_policy("all-queued"))
    for revision in ("v1", "v2"):
        for rule in ("a", "b", "c"):
            shadow.compare(SPEC, 1.0, Decision(Lane.QUEUE, "r", rule, revision), lambda _: Facts())
    assert [(count.revision, count.rule) for count in shadow.counts] == [
        ("v1", "a"),
        ("v2", "a"),
        ("v1", "b"),
        ("v2", "b"),
    ]
    assert shadow.uncounted == 2
