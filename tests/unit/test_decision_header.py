"""The value of ``Weighbridge-Decision``: what it says of calls, and how long it may be."""

from __future__ import annotations

from contextvars import copy_context
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.servers.structured_field import members_of

from weighbridge import Decision, Lane
from weighbridge.background.commit import Standing
from weighbridge.background.decided import DecidedCall
from weighbridge.background.decision_header import MAX_BYTES, header_value
from weighbridge.call import Call
from weighbridge.task import HEAVIEST


def decided(
    task: str = "app.notify",
    *,
    lane: Lane = Lane.IN_PROCESS,
    rule: str = "otherwise",
    weight: float = 1.0,
    revision: str = "",
    standing: Standing = Standing.ACCEPTED,
) -> DecidedCall:
    decision = Decision(lane=lane, reason="because", rule=rule, revision=revision)
    call = Call("id", task, print, (), {}, None, False, decision, copy_context(), 0.0, weight)
    return DecidedCall(call=call, lane=lane, rule=rule, revision=revision, standing=standing)


def read(*calls: DecidedCall) -> list[tuple[str, dict[str, Any]]]:
    return members_of(header_value(calls).decode("ascii"))


def test_a_call_is_its_lane_with_task_rule_weight_and_revision() -> None:
    call = decided("app.render", lane=Lane.QUEUE, rule="heavy work is queued", weight=80, revision="c0ffee")
    assert header_value([call]) == (b'queue;task="app.render";rule="heavy work is queued";weight=80;revision="c0ffee"')


def test_without_calls_there_is_no_value() -> None:
    assert header_value([]) == b""


def test_calls_stand_in_their_order_and_equal_ones_in_a_row_are_counted() -> None:
    few, more = decided(), decided("app.render", lane=Lane.QUEUE)
    assert [(lane, parameters["task"], parameters.get("calls")) for lane, parameters in read(few, few, more, few)] == [
        ("in_process", "app.notify", 2),
        ("queue", "app.render", None),
        ("in_process", "app.notify", None),
    ]


@pytest.mark.parametrize(
    "other", [{"rule": "another"}, {"weight": 2}, {"revision": "2"}, {"standing": Standing.OPEN}, {"task": "app.mail"}]
)
def test_calls_that_differ_in_anything_shown_are_members_of_their_own(other: dict[str, Any]) -> None:
    assert len(read(decided(), decided(**other))) == 2


@pytest.mark.parametrize("standing", [each for each in Standing if each is not Standing.ACCEPTED])
def test_a_call_that_was_not_accepted_says_how_it_stands(standing: Standing) -> None:
    [(_, parameters)] = read(decided(standing=standing))
    assert parameters["commit"] == standing


def test_one_that_was_accepted_says_nothing_of_it() -> None:
    [(_, parameters)] = read(decided())
    assert "commit" not in parameters


def test_ten_thousand_equal_calls_are_one_member() -> None:
    [(_, parameters)] = read(*[decided()] * 10_000)
    assert parameters["calls"] == 10_000


def test_of_ten_thousand_different_ones_the_first_are_told_and_the_rest_is_counted() -> None:
    value = header_value(decided(f"app.task_{number}") for number in range(10_000))
    *told, (last, parameters) = members_of(value.decode("ascii"))
    assert len(value) <= MAX_BYTES
    assert [each["task"] for _, each in told] == [f"app.task_{number}" for number in range(len(told))]
    assert (last, parameters) == ("more", {"calls": 10_000 - len(told)})
    assert len(told) > 20


def test_a_long_name_is_cut_and_says_so() -> None:
    [(_, parameters)] = read(decided("a" * 5_000, rule="é" * 5_000))
    assert parameters["task"] == "a" * 100 + "..."
    assert parameters["rule"] == "é" * 100 + "..."


@given(
    st.lists(
        st.builds(
            decided,
            st.text(max_size=300),
            lane=st.sampled_from(Lane),
            rule=st.text(max_size=300),
            weight=st.floats(min_value=0, max_value=HEAVIEST),
            revision=st.text(max_size=100),
            standing=st.sampled_from(Standing),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_whatever_the_calls_the_value_can_be_read_is_short_and_counts_all(calls: list[DecidedCall]) -> None:
    value = header_value(calls)
    members = members_of(value.decode("ascii"))
    assert len(value) <= MAX_BYTES
    assert sum(int(parameters.get("calls", 1)) for _, parameters in members) == len(calls)
    assert all(lane in tuple(Lane) for lane, _ in members[:-1])


def test_two_calls_that_differ_only_in_what_is_not_shown_are_alike() -> None:
    first = decided()
    second = replace(first, call=replace(first.call, id="another", args=(2,)))
    assert len(read(first, second)) == 1
