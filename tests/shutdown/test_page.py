"""The page of servers is made from what was measured, and no stop that ought to be orderly lost a call."""

from __future__ import annotations

import pytest
from tests.shutdown.measured import Measurement, Side, stored
from tests.shutdown.page import PAGE, page
from tests.shutdown.stops import STOPS, Stop

CALLS = {"accepted": 1500, "finished": 100, "by_worker": 1200, "reported": 200, "lost": 0, "late": 4, "duplicated": 0}
OURS = Side(
    calls=CALLS,
    requests={"answered": 3, "declined": 0, "refused": 40, "cut": 2},
    cut=20,
    lifespans=[1, 1, 1],
    code=143,
    killed=False,
    took_s=3.24,
)
STOCK = Side(
    calls={**CALLS, "lost": 70}, requests=OURS.requests, cut=0, lifespans=[1, 0, 0], code=137, killed=True, took_s=10.0
)
FOUND = Measurement(day="2026-01-31", machine="2 cores", versions="Python", ours=OURS, stock=STOCK)

#: Running async calls are cancelled, also those that could have been queued before they started; they are reported.
FORCED = ("uvicorn-sigint-twice", "hypercorn-short")


def row(text: str, stop: Stop, *, table: int) -> str:
    rows = [line for line in text.splitlines() if line.startswith(f"| {stop.title} |")]
    assert len(rows) == 2
    return rows[table]


def test_the_page_is_what_was_measured() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(stored()), "run: python -m tests.shutdown --write"


def test_all_stops_were_measured_and_nothing_else() -> None:
    assert stored().keys() == {stop.name for stop in STOPS}


@pytest.mark.parametrize("stop", [stop for stop in STOPS if stop.orderly], ids=lambda stop: stop.name)
def test_no_call_is_lost_in_silence_and_none_runs_twice(stop: Stop) -> None:
    ours = stored()[stop.name].ours

    assert not ours.killed
    assert ours.calls["lost"] == ours.calls["duplicated"] == 0
    assert ours.calls["stuck"] == 0 or stop.name in FORCED
    assert ours.calls["finished"] + ours.calls["by_worker"] + ours.calls["reported"] == ours.calls["accepted"]


@pytest.mark.parametrize("stop", [stop for stop in STOPS if not stop.orderly], ids=lambda stop: stop.name)
def test_a_stop_that_is_called_disorderly_has_lost_calls(stop: Stop) -> None:
    assert stored()[stop.name].ours.calls["lost"] > 0


def test_stock_background_tasks_lose_calls_in_every_stop() -> None:
    assert [name for name, found in stored().items() if not found.stock.calls["lost"]] == []


def test_the_figures_of_a_stop_are_in_its_rows() -> None:
    stop = STOPS[0]
    text = page({stop.name: FOUND})

    assert row(text, stop, table=0).endswith("| 0 | 70 of 1,500 | 1,500 | 100 | 1,200 | 200 | 0 | yes | 143 |")
    assert row(text, stop, table=1).endswith(
        f"| 20 | accepted 3, refused 40, waited and cut 2 | 3.2 s | {stop.advice} |"
    )
    assert f"- `{stop.name}`: 2026-01-31: 2 cores; Python." in text


def test_a_stop_that_was_not_measured_is_told_as_that() -> None:
    assert row(page({}), STOPS[0], table=0).endswith("| not measured | not measured |")
