"""The account of a stop counts each accepted call once, and none that is gone as anything but lost."""

from __future__ import annotations

import pytest
from tests.faults.record import Line, Mark, Place
from tests.shutdown.account import Account, Events
from tests.shutdown.work import LIFESPAN_ENDED, LIFESPAN_ENDING, LIFESPAN_OPENED, Kind

CALL = "0c2b9b0e-0a5c-4f6e-9d55-6b0f4f0c9a11"
OTHER = "7f6b1f4c-3f0e-4a70-8c1b-0d9f2f9a2b33"


def line(mark: Mark, place: Place = Place.WEB, *, call: str = CALL) -> Line:
    return Line(call=call, mark=mark, pid=1, place=place, at_s=0.0)


def account(*lines: Line, log: tuple[str, ...] = (), kind: Kind = Kind.SYNC) -> Account:
    return Account.of({CALL: kind}, lines, Events.of(log))


RUN = (line(Mark.STARTED), line(Mark.FINISHED))
RUN_BY_WORKER = (line(Mark.STARTED, Place.WORKER), line(Mark.FINISHED, Place.WORKER))
REPORT = f"ERROR weighbridge.in_process in_process.call_not_started task=shop.warm call_id={CALL}"


def test_a_call_that_finished_in_the_web_process_is_finished() -> None:
    found = account(*RUN)

    assert found.finished == {CALL}
    assert not found.lost | found.reported | found.by_worker | found.stuck


def test_a_call_that_a_worker_ran_is_no_other_call_than_the_one_accepted() -> None:
    found = account(*RUN_BY_WORKER)

    assert found.by_worker == {CALL}
    assert not found.lost | found.stuck | found.duplicated


@pytest.mark.parametrize("lines", [(), (line(Mark.STARTED),), (line(Mark.STARTED, Place.WORKER),)])
def test_a_call_without_an_end_and_without_a_report_is_lost(lines: tuple[Line, ...]) -> None:
    assert account(*lines).lost == {CALL}


def test_a_call_whose_id_an_error_names_is_reported() -> None:
    found = account(log=(REPORT,), kind=Kind.STAYING)

    assert found.reported == {CALL}
    assert not found.lost | found.stuck


def test_a_report_of_a_call_that_could_be_queued_is_not_enough() -> None:
    assert account(log=(REPORT,)).stuck == {CALL}


def test_a_line_that_nobody_sees_by_default_is_no_report() -> None:
    handed_over = f"INFO weighbridge.in_process in_process.call_handed_over task=shop.warm call_id={CALL}"
    found = account(log=(handed_over,))

    assert found.lost == found.handed_over == {CALL}


def test_a_report_of_another_call_is_no_report() -> None:
    assert account(log=(REPORT.replace(CALL, OTHER),)).lost == {CALL}


def test_a_call_that_finished_after_its_report_is_finished_and_late() -> None:
    found = account(*RUN, log=(REPORT,))

    assert found.finished == found.late == {CALL}
    assert not found.reported


def test_a_call_that_ran_in_both_places_is_counted_once_and_duplicated() -> None:
    found = account(*RUN, *RUN_BY_WORKER)

    assert found.duplicated == found.finished == {CALL}
    assert not found.by_worker


def test_a_call_that_ran_without_an_answer_to_its_client_is_not_accepted() -> None:
    found = account(*RUN, line(Mark.STARTED, call=OTHER))

    assert found.unanswered == {OTHER}
    assert found.accepted == {CALL}


def test_the_events_say_how_far_the_lifespans_got() -> None:
    found = Events.of(
        f"INFO tests.shutdown {text} pid={pid}"
        for text, pids in ((LIFESPAN_OPENED, (1, 2, 3)), (LIFESPAN_ENDING, (1, 2)), (LIFESPAN_ENDED, (1,)))
        for pid in pids
    )

    assert (found.opened, found.ending, found.ended) == (3, 2, 1)
