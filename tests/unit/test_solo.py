from __future__ import annotations

import threading

import pytest

from weighbridge.lanes.queue.solo import FIRST_PATIENCE_S, OPEN_SHARE, Admission, Solo

ONE, OTHER, SUSPECT = ("default", "1-0"), ("heavy", "2-0"), ("default", "3-0")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def solo(clock: Clock) -> Solo:
    return Solo(clock=clock)


def test_without_a_suspect_everything_is_handed_out(solo: Solo) -> None:
    assert solo.admit(ONE, timeout_s=0) is Admission.ADMITTED
    assert solo.admit(OTHER, timeout_s=0) is Admission.ADMITTED


def test_a_suspect_waits_until_nothing_else_is_out_and_closes_the_process(solo: Solo) -> None:
    solo.admit(ONE, timeout_s=0)
    assert solo.admit_alone(SUSPECT, timeout_s=0) is Admission.CLOSED
    assert solo.admit(OTHER, timeout_s=0) is Admission.CLOSED
    assert not solo.wait_until_open(timeout_s=0)

    solo.leave([ONE])

    assert solo.admit_alone(SUSPECT, timeout_s=0) is Admission.ADMITTED
    assert solo.admit(OTHER, timeout_s=0) is Admission.CLOSED
    solo.leave([SUSPECT])
    assert solo.admit(OTHER, timeout_s=0) is Admission.ADMITTED


def test_the_end_of_a_suspect_wakes_who_waits(solo: Solo) -> None:
    solo.admit_alone(SUSPECT, timeout_s=0)
    got: list[Admission] = []
    thread = threading.Thread(target=lambda: got.append(solo.admit(ONE, timeout_s=20)))
    thread.start()

    solo.leave([SUSPECT])

    thread.join(20)
    assert got == [Admission.ADMITTED]


def test_of_two_suspects_one_steps_aside(solo: Solo) -> None:
    solo.admit_alone(SUSPECT, timeout_s=0)

    assert solo.admit_alone(ONE, timeout_s=0) is Admission.LATER


def test_a_suspect_that_waits_too_long_lets_the_others_go_on_for_nine_times_as_long(solo: Solo, clock: Clock) -> None:
    solo.admit(ONE, timeout_s=0)
    assert solo.admit_alone(SUSPECT, timeout_s=0) is Admission.CLOSED
    clock.now_s += FIRST_PATIENCE_S
    assert solo.admit_alone(SUSPECT, timeout_s=0) is Admission.LATER
    assert solo.admit(OTHER, timeout_s=0) is Admission.ADMITTED
    clock.now_s += OPEN_SHARE * FIRST_PATIENCE_S - 1
    assert solo.admit_alone(SUSPECT, timeout_s=0) is Admission.LATER

    clock.now_s += 1

    assert solo.admit_alone(SUSPECT, timeout_s=0) is Admission.CLOSED
    clock.now_s += 2 * FIRST_PATIENCE_S - 1
    assert solo.admit_alone(SUSPECT, timeout_s=0) is Admission.CLOSED, "the second wait is twice as long"


def test_a_suspect_that_is_given_back_before_it_ran_opens_the_process(solo: Solo) -> None:
    solo.admit(ONE, timeout_s=0)
    solo.admit_alone(SUSPECT, timeout_s=0)

    solo.leave([SUSPECT])

    assert solo.admit(OTHER, timeout_s=0) is Admission.ADMITTED
