"""The values that stand for all: each literal, what lies between, and what lies beyond."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from weighbridge.policy import FACTS, Expression
from weighbridge.policy.cells import MAX_TAGS, MOST_COMBINATIONS, Cells, cells_of
from weighbridge.policy.fact import Kind


def cells(*expressions: str, around: Mapping[str, object] | None = None) -> Mapping[str, Cells]:
    return cells_of((Expression.parse(each).statement for each in expressions), around=around or {})


def values(fact: str, *expressions: str, around: Mapping[str, object] | None = None) -> tuple[object, ...]:
    found = cells(*expressions, around=around)[fact]
    assert found.complete
    return found.values


def test_a_number_takes_each_literal_one_value_in_each_gap_and_one_beyond() -> None:
    assert values("weight", "weight >= 50", "weight < 80") == (0, 1, 50, 51, 80, 81)


def test_a_gap_without_room_for_a_round_number_takes_one_with_a_fraction() -> None:
    assert values("weight", "0 < weight < 1") == (0, 0.5, 1, 2)


def test_a_whole_number_takes_no_value_where_there_is_none() -> None:
    assert values("in_process.waiting", "in_process.waiting > 3 and in_process.waiting < 4") == (0, 1, 3, 4, 5)


def test_a_whole_number_does_not_take_a_literal_with_a_fraction() -> None:
    assert values("in_process.waiting", "in_process.waiting > 3.5") == (0, 1, 4)


def test_only_the_priority_goes_below_zero() -> None:
    assert values("priority", "priority > -2") == (-3, -2, -1)
    assert values("weight", "weight > -2") == (0, 1)


@pytest.mark.parametrize("fact", [fact.name for fact in FACTS.values() if fact.kind is Kind.NUMBER])
def test_a_number_that_is_compared_with_no_literal_has_values_too(fact: str) -> None:
    assert len(values(fact, f"{fact} < {fact}")) >= 2


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e308, 10**400])
def test_a_value_that_no_expression_can_name_does_no_harm(value: float) -> None:
    assert values("loop.lag_ms", "loop.lag_ms > 20", around={"loop.lag_ms": value})[-1] is None
    assert values("in_process.waiting", "in_process.waiting > 20", around={"in_process.waiting": value})


def test_a_reading_can_be_unknown() -> None:
    assert values("loop.lag_ms", "loop.lag_ms > 20") == (0, 1, 20, 21, None)
    assert values("broker.available", "broker.available") == (False, True, None)


def test_a_flag_takes_both() -> None:
    assert values("is_async", "not is_async") == (False, True)


def test_a_text_takes_each_literal_and_one_other() -> None:
    assert values("queue", "queue in ['mail', 'other']", "queue == 'heavy'") == ("heavy", "mail", "other", "other 2")


def test_tags_take_each_combination_of_those_that_are_mentioned() -> None:
    assert values("tags", "'a' in tags", "not 'b' in tags") == ((), ("a",), ("b",), ("a", "b"))


def test_of_many_tags_not_every_combination_is_tried_and_that_is_said() -> None:
    many = " or ".join(f"'{number}' in tags" for number in range(MAX_TAGS + 1))
    found = cells(many)["tags"]
    assert not found.complete
    assert len(found.values) < 2**MAX_TAGS


def tags(number: int) -> list[str]:
    """Expressions that mention so many tags, in pieces that are not too long to be parsed."""
    return [" or ".join(f"'{each}' in tags" for each in range(at, min(at + 50, number))) for at in range(0, number, 50)]


@pytest.mark.parametrize("number", [MAX_TAGS + 1, 100, 1_000, 4_000])
def test_of_many_tags_no_more_combinations_are_tried_than_anybody_could_wait_for(number: int) -> None:
    found = cells(*tags(number), around={"tags": ("3", "x")})["tags"]
    assert not found.complete
    assert len(found.values) <= MOST_COMBINATIONS
    assert sum(len(value) for value in found.values if isinstance(value, tuple)) < 5 * MOST_COMBINATIONS + number
    assert ("x",) in found.values


def test_of_many_tags_those_that_differ_in_one_from_those_that_are_there_come_first() -> None:
    found = cells(*tags(20), around={"tags": ("19", "3")})["tags"]
    assert (found.values[0], found.values[3], found.values[4]) == (("19", "3"), ("3",), ("19",))
    assert {("19", "3", "0"), ("19", "3", "11"), ("3", "0"), ()} < set(found.values)


def test_a_text_that_is_looked_for_among_the_tags_brings_its_literals_there() -> None:
    found = cells("queue in tags", "queue == 'mail'", "'a' in tags")
    assert found["queue"].values == ("a", "mail", "other")
    assert ("mail", "other") in found["tags"].values


def test_facts_that_are_compared_share_their_literals_and_have_room_for_any_order() -> None:
    found = cells("broker.age_s < loop.lag_ms", "loop.lag_ms > 20")
    assert found["loop.lag_ms"].values == found["broker.age_s"].values == (0, 1, 2, 20, 21, 22, None)


def test_between_whole_numbers_there_is_room_for_those_with_a_fraction() -> None:
    found = cells("weight < in_process.waiting")
    assert found["in_process.waiting"].values == (0, 1, 2)
    assert any(0 < value < 1 for value in found["weight"].values if isinstance(value, float))


def test_around_a_value_the_nearest_of_each_gap_are_taken() -> None:
    assert values("weight", "weight > 20 or weight > 50", around={"weight": 100.0}) == (
        0,
        19,
        20,
        49,
        50,
        99.0,
        100.0,
        101,
    )


def test_tags_that_no_expression_mentions_stay() -> None:
    assert values("tags", "'a' in tags", around={"tags": ("x", "a")}) == (("x",), ("x", "a"))


def test_an_expression_without_a_fact_has_no_cells() -> None:
    assert cells("True") == {}
