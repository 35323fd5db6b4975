"""The account counts each call where it belongs, and its gate opens for no broken promise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.faults.account import Account, Answer, Attempt, Holdings
from tests.faults.record import Line, Mark, Place, Record


def attempt(call: str, answer: Answer = Answer.ACCEPTED) -> Attempt:
    return Attempt(call=call, answer=answer, status=0, sent_at_s=0.0, took_s=0.0)


def run(call: str, *marks: Mark, place: Place = Place.WORKER) -> list[Line]:
    return [Line(call=call, mark=mark, pid=1, place=place, at_s=0.0) for mark in marks]


def account(
    answer: Answer,
    *lines: Line,
    present: Mapping[str, int] | None = None,
    dead: Mapping[str, str] | None = None,
    may_stay: tuple[str, ...] = (),
) -> Account:
    holdings = Holdings(present=present or {}, dead=dead or {})
    return Account.of([attempt("a", answer)], lines, holdings, may_stay=may_stay)


ONCE = (Mark.STARTED, Mark.FINISHED)


def test_an_accepted_call_that_finished_is_ok() -> None:
    found = account(Answer.ACCEPTED, *run("a", *ONCE))

    assert found.ok == found.acknowledged == {"a"}
    assert found.problems() == ()


def test_an_accepted_call_that_is_nowhere_is_lost() -> None:
    assert account(Answer.ACCEPTED).problems() == ("1 lost",)


def test_an_accepted_call_that_started_and_is_nowhere_is_lost() -> None:
    assert account(Answer.ACCEPTED, *run("a", Mark.STARTED)).problems() == ("1 lost",)


def test_an_accepted_call_that_still_waits_is_stranded() -> None:
    assert account(Answer.ACCEPTED, present={"a": 1}).problems() == ("1 stranded",)


def test_a_dead_letter_is_an_end_and_an_expired_one_is_counted_by_itself() -> None:
    assert account(Answer.ACCEPTED, dead={"a": "failed"}).dead == {"a"}
    assert account(Answer.ACCEPTED, dead={"a": "expired"}).expired == {"a"}
    assert account(Answer.ACCEPTED, dead={"a": "expired"}).problems() == ()


@pytest.mark.parametrize("there", [{"present": {"a": 1}}, {"dead": {"a": "failed"}}])
def test_a_refused_call_that_is_there_is_unexpected(there: dict[str, Mapping[str, int]]) -> None:
    assert account(Answer.REFUSED, **there).problems() == ("1 unexpected",)  # type: ignore[arg-type]  # a test's table


def test_a_refused_call_that_ran_is_unexpected_and_one_that_is_nowhere_is_right() -> None:
    assert account(Answer.REFUSED, *run("a", *ONCE)).problems() == ("1 unexpected",)
    assert account(Answer.REFUSED).problems() == ()


def test_a_call_that_nobody_added_is_unexpected() -> None:
    assert account(Answer.REFUSED, *run("b", *ONCE)).unexpected == {"b"}


def test_a_call_of_unknown_fate_may_be_there_or_not() -> None:
    assert account(Answer.UNKNOWN).problems() == ()
    found = account(Answer.UNKNOWN, *run("a", *ONCE))
    assert found.recovered == {"a"}
    assert found.problems() == ()


def test_a_queued_call_that_ran_in_the_web_process_is_misplaced_unless_it_may_stay() -> None:
    lines = run("a", *ONCE, place=Place.WEB)

    assert account(Answer.ACCEPTED, *lines).problems() == ("1 misplaced",)
    assert account(Answer.ACCEPTED, *lines, may_stay=("a",)).problems() == ()


def test_a_retry_after_a_failure_is_no_duplicate() -> None:
    found = account(Answer.ACCEPTED, *run("a", Mark.STARTED, Mark.FAILED, *ONCE))

    assert found.duplicated == frozenset()


def test_a_second_start_without_a_failure_is_a_duplicate_and_no_problem_by_itself() -> None:
    found = account(Answer.ACCEPTED, *run("a", Mark.STARTED, *ONCE))

    assert found.duplicated == {"a"}
    assert found.problems() == ()


def test_a_call_that_the_broker_has_twice_is_doubled() -> None:
    assert "1 doubled" in account(Answer.ACCEPTED, present={"a": 2}).problems()


def test_the_figures_are_those_of_the_fields() -> None:
    figures = account(Answer.ACCEPTED, *run("a", *ONCE)).figures()

    assert list(figures)[:4] == ["attempted", "acknowledged", "refused", "unknown"]
    assert figures["ok"] == 1


def test_what_several_objects_write_into_a_record_is_read_by_each(tmp_path: Path) -> None:
    Record(tmp_path).note("a", Mark.STARTED, Place.WORKER)
    Record(tmp_path).note("a", Mark.FINISHED, Place.WEB)

    lines = Record(tmp_path).lines()
    assert [(line.call, line.mark, line.place) for line in lines] == [
        ("a", Mark.STARTED, Place.WORKER),
        ("a", Mark.FINISHED, Place.WEB),
    ]


def test_only_the_first_run_of_a_call_is_the_first(tmp_path: Path) -> None:
    assert Record(tmp_path).first("a")
    assert not Record(tmp_path).first("a")
    assert Record(tmp_path).first("b")
