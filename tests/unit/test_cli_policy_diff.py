"""``weighbridge policy diff``: what it says to people, and to programs, of the counts that it finds."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from weighbridge.cli.group import command
from weighbridge.decision import Lane
from weighbridge.shadow.fields import delta_of
from weighbridge.shadow.file_store import FileStore
from weighbridge.shadow.shadow import Row, Tally

RENDER: Row = ("app.render", "v1", "otherwise", Lane.IN_PROCESS, "heavy work is queued", Lane.QUEUE, False)
RENDER_AGREED: Row = ("app.render", "v1", "otherwise", Lane.IN_PROCESS, "otherwise", Lane.IN_PROCESS, False)
NOTIFY: Row = ("app.notify", "v1", "otherwise", Lane.IN_PROCESS, "otherwise", Lane.IN_PROCESS, False)
SPILLED: Row = ("app.notify", "v1", "otherwise", Lane.IN_PROCESS, "many wait", Lane.QUEUE, True)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    file = tmp_path / "shadow.sqlite3"
    monkeypatch.setenv("WEIGHBRIDGE_SHADOW_FILE", str(file))
    monkeypatch.setenv("COLUMNS", "160")
    store = FileStore(file)
    store.check()
    return store


def add(store: FileStore, tally: Tally, *, shadow: str = "s1", ago: timedelta = timedelta()) -> None:
    number = round(ago.total_seconds())  # one for each, and each of a writer of its own
    store.add(
        delta_of(
            tally,
            shadow=shadow,
            names={"v1": "all-in-process (shipped)", "s1": "by-weight (shipped)"},
            since=datetime.now(UTC) - ago,
            until=datetime.now(UTC) - ago,
            writer=f"{shadow}-{number}",
            number=1,
        )
    )


def calls(**of: dict[Row, int]) -> Tally:
    tally = Tally()
    tally.calls.update(of["rows"])
    return tally


def diff(*words: str) -> Result:
    return CliRunner().invoke(command, ["policy", "diff", *words])


def told(*words: str) -> Any:
    return json.loads(diff("--format", "json", *words).stdout)["comparisons"]


def test_it_shows_by_task_and_rule_what_would_take_the_other_lane(store: FileStore) -> None:
    add(store, calls(rows={RENDER: 30, RENDER_AGREED: 10, NOTIFY: 1_960}))
    lines = [line.rstrip() for line in diff().stdout.splitlines()]
    assert lines[:2] == [
        "policy  all-in-process (shipped), revision v1",
        "shadow  by-weight (shipped), revision s1",
    ]
    assert lines[2].startswith("2,000 calls compared, from 20")
    assert lines[3:] == [
        "The shadow would have sent 30 of them (1.5%) down the other lane.",
        "",
        "task        calls  of all  policy                   shadow",
        "app.render     30      40  in_process, [otherwise]  queue, heavy work is queued",
    ]


def test_calls_on_which_both_agree_are_shown_when_asked_for(store: FileStore) -> None:
    add(store, calls(rows={RENDER: 3, NOTIFY: 2}))
    assert "app.notify" not in diff().stdout
    assert "app.notify      2       2  in_process, [otherwise]  in_process, [otherwise]" in diff("--all").stdout


def test_where_both_always_agree_that_is_said(store: FileStore) -> None:
    add(store, calls(rows={NOTIFY: 2}))
    assert "would have sent each of them down the same lane." in diff().stdout
    assert "app.notify" not in diff().stdout


def test_where_the_shadow_looked_at_load_that_is_said_to_be_the_other_policys(store: FileStore) -> None:
    add(store, calls(rows={SPILLED: 3, RENDER: 2}))
    shown = diff().stdout
    assert "queue, many wait, by load" in shown
    assert "queue, heavy work is queued\n" in shown.replace(" \n", "\n").replace("  ", "")
    assert "by load: a hint only. The shadow looked at how busy the service was" in shown
    assert "that followed from the policy that is obeyed" in shown


def test_rows_that_are_not_shown_need_no_word_about_load(store: FileStore) -> None:
    agreed: Row = (*SPILLED[:4], "otherwise", Lane.IN_PROCESS, True)
    add(store, calls(rows={agreed: 3, RENDER: 2}))
    assert "by load" not in diff().stdout
    assert "by load" in diff("--all").stdout


def test_a_small_share_is_not_rounded_to_nothing(store: FileStore) -> None:
    add(store, calls(rows={RENDER: 1, NOTIFY: 99_999}))
    assert "sent 1 of them (less than 0.1%)" in diff().stdout


def test_a_large_share_is_not_rounded_to_all(store: FileStore) -> None:
    add(store, calls(rows={RENDER: 99_999, NOTIFY: 1}))
    assert "sent 99,999 of them (more than 99.9%)" in diff().stdout


def test_what_was_not_compared_is_said(store: FileStore) -> None:
    tally = calls(rows={NOTIFY: 1})
    tally.failed["app.notify", "v1"] = 4
    tally.uncounted["v1"] = 1
    add(store, tally)
    shown = diff().stdout
    assert "same lane. 5 more calls could not be compared: see below." in shown
    assert "The shadow failed about 4 calls of app.notify, which are not compared." in shown
    assert "1 call more may diverge or not" in shown
    (found,) = told()
    assert (found["failures"], found["uncounted"], found["calls"]) == ({"app.notify": 4}, 1, 1)


def test_a_shadow_that_always_fails_is_no_good_news(store: FileStore) -> None:
    tally = Tally()
    tally.failed["app.notify", "v1"] = 4
    add(store, tally)
    assert "Nothing could be compared. 4 more calls could not be compared: see below." in diff().stdout
    assert "same lane" not in diff().stdout


def test_the_latest_pair_of_policies_is_shown_and_the_others_are_named(store: FileStore) -> None:
    add(store, calls(rows={RENDER: 5}), shadow="s0", ago=timedelta(minutes=5))
    add(store, calls(rows={NOTIFY: 2}))
    shown = diff().stdout
    assert "revision s1" in shown
    assert "Also compared (--revision shows one):" in shown
    assert "all-in-process (shipped) (v1), shadow ? (s0), to 20" in shown
    assert "5 of 5 calls diverge" in shown
    assert [each["shadow_revision"] for each in told()] == ["s1", "s0"]


def test_a_revision_of_either_policy_is_asked_for_by_its_beginning(store: FileStore) -> None:
    add(store, calls(rows={RENDER: 5}), shadow="aa11", ago=timedelta(minutes=5))
    add(store, calls(rows={NOTIFY: 2}), shadow="bb22")
    later: Row = (NOTIFY[0], "v2", *NOTIFY[2:])
    add(store, calls(rows={later: 1}), shadow="bb22", ago=timedelta(minutes=1))
    assert "revision aa11" in diff("--revision", "aa").stdout
    assert [each["shadow_revision"] for each in told("--revision", "aa")] == ["aa11"]
    assert [(each["revision"], each["calls"]) for each in told("--revision", "v2")] == [("v2", 1)]
    assert [(each["revision"], each["calls"]) for each in told("--revision", "v1", "--revision", "bb")] == [("v1", 2)]
    refused = diff("--revision", "cc")
    assert refused.exit_code == 2
    assert "--revision cc: nothing such was compared in the last 7 days. There is: v1 with bb22" in refused.output


def test_only_the_days_that_are_asked_for_are_looked_at(store: FileStore) -> None:
    add(store, calls(rows={RENDER: 5}), ago=timedelta(days=9))
    add(store, calls(rows={RENDER: 2}), ago=timedelta(days=3))
    assert [(each["calls"], each["days"]) for each in told()] == [(2, 1)]
    assert [(each["calls"], each["days"]) for each in told("--days", "10")] == [(7, 2)]
    assert "on 2 days" in diff("--days", "10").stdout
    assert told("--days", "1") == []
    assert "Nothing was compared in the last 1 day." in diff("--days", "1").stdout


@pytest.mark.parametrize("days", ["0", "33", "week"])
def test_days_that_are_not_kept_are_refused(days: str) -> None:
    assert diff("--days", days).exit_code == 2


def test_a_name_with_control_characters_or_halves_is_shown_and_not_obeyed(store: FileStore) -> None:
    row: Row = ("app.\x1b[31mx", "v1", "\x1b]0;title\x07", Lane.IN_PROCESS, "\ud800\x1b[2J", Lane.QUEUE, False)
    add(store, calls(rows={row: 1}))
    shown = diff()
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "app.\\x1b[31mx" in shown.stdout


def test_fields_that_cannot_be_read_are_counted(store: FileStore, tmp_path: Path) -> None:
    add(store, calls(rows={RENDER: 1}))
    with sqlite3.connect(tmp_path / "shadow.sqlite3") as file:
        file.execute("INSERT INTO kept SELECT day, 'of-later', 1 FROM kept LIMIT 1")
    file.close()
    assert "1 field could not be read" in diff().stdout
    assert json.loads(diff("--format", "json").stdout)["unreadable"] == 1


def test_where_it_has_looked_is_said_if_there_is_nothing(tmp_path: Path) -> None:
    shown = diff().stdout.replace("\n", " ")
    assert f"Looked at: {tmp_path / 'shadow.sqlite3'}." in shown


def test_a_name_that_looks_like_markup_is_shown_as_it_is(store: FileStore) -> None:
    row: Row = ("app.[bold]x[/]", "v1", "[red]rule", Lane.IN_PROCESS, "otherwise", Lane.QUEUE, False)
    add(store, calls(rows={row: 1}))
    shown = diff().stdout
    assert "app.[bold]x[/]" in shown
    assert "in_process, [red]rule" in shown
