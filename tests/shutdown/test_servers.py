"""Each server, stopped under load: every accepted call is finished, run by a worker, or reported by its id."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.shutdown.stops import STOPS
from tests.shutdown.trial import OURS, STOCK, Result, Scale, run

#: Nothing here depends on how fast the machine is: a drain gets far longer than what runs needs.
SMALL = Scale(waiting=30, per_s=60.0, run_ms=400, drain_timeout_s=60.0, patience_s=100.0)
#: More calls stay than the drain has time for, and it has twenty times what a running call needs.
FULL = Scale(waiting=500, per_s=200.0, run_ms=500, drain_timeout_s=10.0, patience_s=100.0)
#: Stock's 40 threads cannot run what waits in the second that the server gives them.
STOCK_SMALL = Scale(waiting=60, per_s=200.0, run_ms=3_000, drain_timeout_s=0.0, patience_s=100.0)

BY_NAME = {stop.name: stop for stop in STOPS}
#: Of each server one stop for each way in which it ends its requests and its processes.
TESTED = (
    "uvicorn",
    "uvicorn-timeout",
    "uvicorn-timeout-streams",
    "uvicorn-workers",
    "gunicorn",
    "gunicorn-asgi",
    "hypercorn",
    "hypercorn-workers-mended",
    "granian",
    "granian-workers",
)

pytestmark = [pytest.mark.xdist_group("shutdown"), pytest.mark.timeout(400)]


def check(found: Result) -> None:
    """What must hold for every orderly stop."""
    account, figures = found.account, found.account.figures()
    assert not found.exit.killed
    assert found.events.ended == found.events.ending == found.events.opened
    assert figures["lost"] == figures["duplicated"] == 0
    assert figures["stuck"] == 0  # what can be queued is finished here, or a worker runs it
    assert figures["by_worker"] > 0
    assert account.handed_over == account.by_worker


@pytest.mark.parametrize("name", TESTED)
def test_no_accepted_call_is_lost_when_a_server_stops_under_load(name: str, redis_url: str, tmp_path: Path) -> None:
    found = run(BY_NAME[name], OURS, broker_url=redis_url, directory=tmp_path, scale=SMALL)

    print(found.account.figures(), found.exit, found.ends)
    check(found)
    assert found.account.figures()["reported"] == 0  # the drain has time enough for those that stay


def test_of_500_waiting_calls_all_that_can_be_queued_are_and_every_other_one_is_finished_or_reported(
    redis_url: str, tmp_path: Path
) -> None:
    found = run(BY_NAME["uvicorn"], OURS, broker_url=redis_url, directory=tmp_path, scale=FULL)

    print(found.account.figures())
    check(found)
    assert found.account.figures()["reported"] > 0
    assert len(found.account.accepted) >= FULL.waiting


def test_stock_background_tasks_lose_calls_there(redis_url: str, tmp_path: Path) -> None:
    found = run(BY_NAME["uvicorn-timeout"], STOCK, broker_url=redis_url, directory=tmp_path, scale=STOCK_SMALL)

    assert found.account.figures()["lost"] > 0
