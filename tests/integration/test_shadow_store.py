"""What is counted of a shadow is kept: in a file or by a real server, once for each process, over restarts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from weighbridge.decision import Lane
from weighbridge.errors import BrokerError, SettingsError
from weighbridge.lanes.queue import StreamsBroker
from weighbridge.lanes.queue.keys import shadow_key
from weighbridge.shadow import KEPT_DAYS, Comparison, ShadowCount, ShadowStore, evidence_of
from weighbridge.shadow.fields import delta_of
from weighbridge.shadow.file_store import FileStore
from weighbridge.shadow.server_store import ServerStore
from weighbridge.shadow.shadow import Row, Tally
from weighbridge.shadow.store import Delta

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
TODAY = NOON.date()
RENDER: Row = ("app.render", "v1", "otherwise", Lane.IN_PROCESS, "heavy", Lane.QUEUE, False)
NOTIFY: Row = ("app.notify", "v1", "otherwise", Lane.IN_PROCESS, "otherwise", Lane.IN_PROCESS, True)

#: Dies with changes that are on the disk already, and not committed: with so small a cache they are from the start.
KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.executemany("INSERT INTO kept VALUES (?, ?, 1)", [("2026-11-28", f"{n}" * 100) for n in range(2_000)])
os._exit(9)
"""

Make = Callable[[], ShadowStore]


@pytest.fixture
def server(redis_url: str) -> Callable[[], ShadowStore]:
    namespace = f"shadow-{uuid.uuid4().hex}"
    return lambda: ServerStore.of(StreamsBroker(client=redis.Redis.from_url(redis_url), namespace=namespace))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[], ShadowStore]:
    return lambda: FileStore(tmp_path / "shadow.sqlite3")


@pytest.fixture(params=["server", "file"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.getfixturevalue(request.param)
    return made


def delta(
    *rows: Row, writer: str = "w1", number: int = 1, now: datetime = NOON, calls: int = 1, shadow: str = "s1"
) -> Delta:
    tally = Tally()
    for row in rows:
        tally.calls[row] += calls
    names = {"v1": "all-in-process", "s1": "by-weight"}
    return delta_of(tally, shadow=shadow, names=names, since=now, until=now, writer=writer, number=number)


def comparisons(days: Iterable[Mapping[str, str]]) -> tuple[Comparison, ...]:
    found = evidence_of(days)
    assert found.unreadable == 0
    return found.comparisons


def test_what_is_added_comes_back(make: Make) -> None:
    make().add(delta(RENDER, NOTIFY, calls=3))

    (found,) = comparisons([make().read(TODAY)])

    assert (found.policy, found.revision) == ("all-in-process", "v1")
    assert (found.shadow_policy, found.shadow_revision) == ("by-weight", "s1")
    assert set(found.counts) == {ShadowCount(*RENDER, 3), ShadowCount(*NOTIFY, 3)}
    assert (found.calls, found.diverging, found.days, found.uncounted, found.failures) == (6, 3, 1, 0, {})
    assert (found.since, found.until) == (NOON, NOON)


def test_processes_and_later_deltas_are_summed_up(make: Make) -> None:
    later = NOON + timedelta(minutes=5)
    make().add(delta(RENDER, calls=2))
    make().add(delta(RENDER, NOTIFY, writer="w2", now=later))
    make().add(delta(RENDER, number=2, now=later))

    (found,) = comparisons([make().read(TODAY)])

    assert found.counts == (ShadowCount(*RENDER, 4), ShadowCount(*NOTIFY, 1))
    assert (found.since, found.until) == (NOON, later)


def test_a_delta_whose_answer_was_lost_is_written_again_and_counts_once(make: Make) -> None:
    for number in (1, 1, 2, 2, 1):
        make().add(delta(RENDER, number=number))

    (found,) = comparisons([make().read(TODAY)])

    assert found.calls == 2


def test_writers_at_the_same_time_lose_nothing(make: Make) -> None:
    def write(writer: str) -> None:
        for number in range(1, 11):
            make().add(delta(RENDER, writer=writer, number=number))

    writers = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    (found,) = comparisons([make().read(TODAY)])
    assert found.calls == 40


def test_days_are_kept_apart_and_summed_up_when_asked_for(make: Make) -> None:
    yesterday = TODAY - timedelta(days=1)
    make().add(delta(RENDER, now=NOON - timedelta(days=1)))
    make().add(delta(RENDER, number=2))

    assert [found.calls for found in comparisons([make().read(TODAY)])] == [1]
    (found,) = comparisons(make().read(day) for day in (TODAY, yesterday))
    assert (found.calls, found.days, found.since.date(), found.until.date()) == (2, 2, yesterday, TODAY)


def test_a_day_is_one_in_utc(make: Make) -> None:
    east = datetime.fromisoformat("2026-11-29T01:30:00+02:00")
    make().add(delta(RENDER, now=east))
    assert [found.calls for found in comparisons([make().read(TODAY)])] == [1]


def test_pairs_of_policies_are_kept_apart_the_latest_first(make: Make) -> None:
    make().add(delta(RENDER, shadow="s0", now=NOON - timedelta(hours=2)))
    make().add(delta(NOTIFY, number=2))

    found = comparisons([make().read(TODAY)])

    assert [(each.shadow_revision, each.shadow_policy, each.calls) for each in found] == [
        ("s1", "by-weight", 1),
        ("s0", "", 1),
    ]


def test_a_failing_shadow_and_calls_beyond_the_last_row_are_kept(make: Make) -> None:
    tally = Tally()
    tally.failed["app.render", "v1"] = 4
    tally.failed["app.render", "v2"] = 1
    tally.uncounted["v1"] = 7
    make().add(delta_of(tally, shadow="s1", names={}, since=NOON, until=NOON, writer="w", number=1))

    found = {each.revision: each for each in comparisons([make().read(TODAY)])}

    assert (found["v1"].failures, found["v1"].uncounted, found["v1"].calls) == ({"app.render": 4}, 7, 0)
    assert (found["v2"].failures, found["v2"].uncounted, found["v2"].calls) == ({"app.render": 1}, 0, 0)


def test_a_day_without_counts_is_empty(make: Make) -> None:
    make().add(delta(RENDER))
    assert make().read(date(2020, 1, 1)) == {}


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
rows = st.tuples(names, names, names, st.sampled_from(Lane), names, st.sampled_from(Lane), st.booleans())


@given(tallies=st.lists(st.dictionaries(rows, st.integers(1, 10**9), max_size=4), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_whatever_rules_and_tasks_are_called_their_counts_come_back(make: Make, tallies: list[dict[Row, int]]) -> None:
    writer = uuid.uuid4().hex  # examples share one store
    expected = Tally()
    for number, calls in enumerate(tallies, 1):
        tally = Tally()
        tally.calls.update({(row[0], f"{writer}{row[1]}", *row[2:]): n for row, n in calls.items()})
        expected.calls.update(tally.calls)
        make().add(delta_of(tally, shadow="s", names={}, since=NOON, until=NOON, writer=writer, number=number))

    found = {each for pair in comparisons([make().read(TODAY)]) for each in pair.counts}

    own = {each for each in found if each.revision.startswith(writer)}
    assert own == {ShadowCount(*row, calls) for row, calls in expected.calls.items()}


def test_the_time_of_a_comparison_only_grows_whichever_delta_comes_late(make: Make) -> None:
    hours = [NOON + timedelta(hours=n) for n in (0, -2, 1, -1)]
    for number, now in enumerate(hours, 1):
        make().add(delta(RENDER, writer=f"w{number}", now=now))
    (found,) = comparisons([make().read(TODAY)])
    assert (found.since, found.until) == (min(hours), max(hours))


def test_a_day_takes_no_more_rows_than_so_many_and_the_calls_of_others_are_counted_as_such(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("file_store", "server_store"):
        monkeypatch.setattr(f"weighbridge.shadow.{module}.MOST_FIELDS", 6)
    for number in range(1, 21):
        made_up: Row = (*RENDER[:4], f"rule {number}", *RENDER[5:])
        make().add(delta(RENDER, made_up, number=number))
    another: Row = (NOTIFY[0], "v2", *NOTIFY[2:])
    make().add(delta(another, writer="w2", number=1, shadow="s2"))
    fields = make().read(TODAY)
    found = evidence_of([fields])
    assert len(fields) <= 6 + 3, "beside the field beyond, one for each writer"
    assert (found.comparisons[0].calls + found.beyond, found.beyond > 0) == (41, True)
    assert ShadowCount(*RENDER, 20) in found.comparisons[0].counts, "rows that are there go on"
    assert len(found.comparisons) == 1, "a pair that comes too late leaves no trace but its calls"


@pytest.mark.parametrize(
    "field",
    [
        "no json",
        "{}",
        "[]",
        "[" * 100_000,
        '["calls",1]',
        '["calls","a"]',
        '["calls",true,"v1","r","queue","r","queue",false,"s1"]',
        '["of-later","x"]',
        '["since"]',
        '["since",true,"s1"]',
        '[["x"]]',
    ],
)
def test_a_field_that_cannot_be_read_is_passed_over_and_counted(make: Make, field: str) -> None:
    make().add(delta(RENDER))
    found = evidence_of([{**make().read(TODAY), field: "7"}])
    assert (found.unreadable, [each.calls for each in found.comparisons]) == (1, [1])


@pytest.mark.parametrize(
    ("field", "value"),
    [('["since","v1","s1"]', "1800000000000"), ('["until","v1","s1"]', "soon"), ('["uncounted","v1","s1"]', "-3")],
)
def test_a_value_that_cannot_be_is_passed_over_and_counted(make: Make, field: str, value: str) -> None:
    make().add(delta(RENDER))
    found = evidence_of([{**make().read(TODAY), field: value}])
    assert (found.unreadable, [each.calls for each in found.comparisons]) == (1, [1])


def test_a_row_with_a_lane_of_a_later_version_is_passed_over_and_counted(make: Make) -> None:
    make().add(delta(RENDER))
    fields = make().read(TODAY)
    later = {name.replace('"queue"', '"edge"'): value for name, value in fields.items() if '"calls"' in name}
    found = evidence_of([{**fields, **later}])
    assert (found.unreadable, [each.calls for each in found.comparisons]) == (1, [1])


# -- by a server --------------------------------------------------------------------------------------------


def test_what_a_server_keeps_expires(redis_url: str) -> None:
    namespace = f"shadow-{uuid.uuid4().hex}"
    client = redis.Redis.from_url(redis_url)
    ServerStore.of(StreamsBroker(client=client, namespace=namespace)).add(delta(RENDER))
    assert list(client.scan_iter(f"{namespace}*")) == [shadow_key(namespace, "2026-11-28").encode()]
    assert 0 < client.ttl(shadow_key(namespace, "2026-11-28")) <= KEPT_DAYS * 86_400


def test_a_server_that_is_away_is_named() -> None:
    client = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    store = ServerStore.of(StreamsBroker(client=client, namespace="away"))
    with pytest.raises(BrokerError, match=r"localhost:1 .*did not confirm the write .*refused"):
        store.add(delta(RENDER))
    with pytest.raises(BrokerError, match=r"localhost:1 .*cannot be reached"):
        store.read(TODAY)


def test_a_user_who_lacks_any_command_adds_nothing_until_it_is_granted(redis_url: str) -> None:
    namespace = f"shadow-{uuid.uuid4().hex}"
    needed = ("hget", "hset", "hlen", "hincrby", "expire")
    with redis.Redis.from_url(redis_url) as root:
        for missing in needed:
            rules = [f"+{command}" for command in ("evalsha", "script|load", "ping", *needed) if command != missing]
            root.execute_command("ACL", "SETUSER", namespace, "reset", "on", ">secret", "~*", *rules)
            client = redis.Redis.from_url(redis_url, username=namespace, password="secret", protocol=2)
            store = ServerStore.of(StreamsBroker(client=client, namespace=f"{namespace}-{missing}"))
            with pytest.raises(BrokerError):
                store.add(delta(RENDER))
            root.execute_command("ACL", "SETUSER", namespace, f"+{missing}", "+hgetall")
            store.add(delta(RENDER))
            (found,) = comparisons([store.read(TODAY)])
            assert found.calls == 1
            client.close()
        root.execute_command("ACL", "DELUSER", namespace)


# -- in a file ----------------------------------------------------------------------------------------------


def test_a_file_forgets_days_that_are_too_long_ago(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "shadow.sqlite3")
    first, last = NOON - timedelta(days=KEPT_DAYS), NOON - timedelta(days=KEPT_DAYS - 1)
    for number, now in enumerate((first, last, NOON), 1):
        store.add(delta(RENDER, number=number, now=now))
    assert store.read(first.date()) == {}
    assert store.read(last.date()) != {}


@pytest.mark.parametrize("name", ["no/such/folder/shadow.sqlite3", "."])
def test_a_file_that_cannot_be_made_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"shadow_file.*cannot be used.*in a folder that is there"):
        FileStore(tmp_path / name).check()


def test_a_file_of_another_kind_is_refused_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database " * 100)
    with pytest.raises(SettingsError, match=r"shadow_file.*not a database.*no other program's"):
        FileStore(file).check()
    assert file.read_text() == "not a database " * 100


def test_the_database_of_another_program_is_refused_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "orders.sqlite3"
    with sqlite3.connect(file) as orders:
        orders.execute("CREATE TABLE orders (id INTEGER)")
    orders.close()
    before = file.read_bytes()
    for use in (FileStore(file).check, lambda: FileStore(file).add(delta(RENDER)), lambda: FileStore(file).read(TODAY)):
        with pytest.raises(SettingsError, match="another program's file"):
            use()
    assert file.read_bytes() == before


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"shadow_file.*no such file.*start the service"):
        FileStore(tmp_path / "shadow.sqlite3").read(TODAY)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_told_and_left_so(tmp_path: Path) -> None:
    (tmp_path / "shadow.sqlite3").touch()
    with pytest.raises(SettingsError, match=r"it is empty.*wait until the service has written"):
        FileStore(tmp_path / "shadow.sqlite3").read(TODAY)
    assert (tmp_path / "shadow.sqlite3").read_bytes() == b""


def test_what_a_killed_process_has_left_half_written_does_not_keep_a_reader_out(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "shadow.sqlite3")
    store.add(delta(RENDER))
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    subprocess.run([sys.executable, script, tmp_path / "shadow.sqlite3"], check=False, timeout=60)
    assert (tmp_path / "shadow.sqlite3-journal").exists()
    (found,) = comparisons([store.read(TODAY)])
    assert found.calls == 1


def test_a_file_that_another_process_holds_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.shadow.file_store.BUSY_S", 0.05)
    store = FileStore(tmp_path / "shadow.sqlite3")
    store.check()
    holder = sqlite3.connect(tmp_path / "shadow.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    store.check()  # a service starts all the same
    with pytest.raises(SettingsError, match="another process holds it"):
        store.add(delta(RENDER))
    holder.execute("ROLLBACK")
    holder.close()
    store.add(delta(RENDER))
    assert store.read(TODAY) != {}
