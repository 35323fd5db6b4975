"""What a ``when`` expression may say, what it means, and what each mistake in it is told."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from weighbridge.decision import BrokerReading, Facts, InProcessReading, LoopReading
from weighbridge.errors import ExpressionError
from weighbridge.policy import Expression
from weighbridge.policy.parser import MAX_DEPTH
from weighbridge.policy.scanner import MAX_LENGTH, MAX_NUMBER

HEAVY = Facts(name="app.render", weight=80.0, queue="heavy", tags=("pdf", "eu"), priority=-1)
LIGHT = Facts(name="app.mail", weight=2.0, is_async=True)
BUSY = Facts(
    payload_bytes=900,
    in_process=InProcessReading(running=8, waiting=20, threads_free=0),
    loop=LoopReading(lag_ms=40.5, age_s=0.02),
    broker=BrokerReading(available=True, waiting=3, age_s=0.5),
)


@pytest.mark.parametrize(
    ("source", "facts", "holds"),
    [
        ("weight >= 50", HEAVY, True),
        ("weight >= 50", LIGHT, False),
        ("weight >= 50 or is_async", LIGHT, True),
        ("weight >= 50 and is_async", LIGHT, False),
        ("not is_async", HEAVY, True),
        ("not not is_async", LIGHT, True),
        ("1 < weight <= 2", LIGHT, True),
        ("not 1 < weight < 2", LIGHT, True),
        ("is_async == False", HEAVY, True),
        ("is_async != True", LIGHT, False),
        ("is_async == broker.available", BUSY, False),
        ("weight == 2", LIGHT, True),
        ("weight != 2.0", LIGHT, False),
        ("priority == -1", HEAVY, True),
        ("name == 'app.render'", HEAVY, True),
        ('name == "app.render"', HEAVY, True),
        ("queue in ['heavy', 'slow']", HEAVY, True),
        ("queue not in ('heavy', 'slow',)", HEAVY, False),
        ("weight in {1, 2.0}", LIGHT, True),
        ("'pdf' in tags", HEAVY, True),
        ("'pdf' not in tags", LIGHT, True),
        ("name in tags", HEAVY, False),
        ("in_process.waiting >= 8 and in_process.threads_free == 0", BUSY, True),
        ("in_process.waiting > in_process.running", BUSY, True),
        ("loop.lag_ms > 4.05e1", BUSY, False),
        ("broker.available and broker.waiting < 1_000", BUSY, True),
        ("True", LIGHT, True),
        ("False or (True and weight >= .5)", LIGHT, True),
        ("(weight) >= (50)", HEAVY, True),
        ("is_async or weight > 1 and weight < 1", HEAVY, False),
    ],
)
def test_an_expression_means_what_it_means_in_python(source: str, facts: Facts, holds: bool) -> None:
    assert Expression.parse(source).evaluate(facts) is holds


@pytest.mark.parametrize(
    "source",
    [
        "loop.lag_ms > 20",
        "loop.lag_ms <= 20",
        "not loop.lag_ms > 20",
        "loop.lag_ms != 20",
        "payload_bytes in [1, 2]",
        "payload_bytes not in [1, 2]",
        "broker.available",
        "not broker.available",
        "broker.available == False",
        "broker.waiting < 5 and weight >= 0",
        "not (broker.waiting < 5 and weight >= 0)",
        "in_process.threads_free == 0 or weight > 50",
        "loop.lag_ms > 20 or loop.lag_ms <= 20",
    ],
)
def test_a_comparison_with_an_unknown_reading_matches_neither_way(source: str) -> None:
    assert Expression.parse(source).evaluate(Facts()) is False


@pytest.mark.parametrize(
    "source",
    [
        "weight >= 50 or loop.lag_ms > 20",
        "loop.lag_ms > 20 or weight >= 50",
        "not (weight < 50 and loop.lag_ms < 20)",
        "not 90 < weight < loop.lag_ms",
    ],
)
def test_what_holds_whatever_the_unknown_reading_is_matches(source: str) -> None:
    assert Expression.parse(source).evaluate(HEAVY) is True


def test_an_expression_may_have_lines_indents_and_comments() -> None:
    source = "\n\tweight >= 50   # heavy\n    or ( is_async\n and weight >= 5 )\r\n"
    expression = Expression.parse(source)
    assert expression.evaluate(HEAVY) is True
    assert expression.text == "weight >= 50 or (is_async and weight >= 5)"
    assert expression.source == source


def test_a_text_keeps_its_blanks_and_signs() -> None:
    assert Expression.parse("name == 'a  # b'").text == "name == 'a  # b'"


def test_an_expression_names_the_facts_that_it_reads() -> None:
    expression = Expression.parse("weight >= 50 or ('x' in tags and in_process.waiting in [1]) or not is_async")
    assert expression.reads == {"weight", "tags", "in_process.waiting", "is_async"}


@pytest.mark.parametrize(
    ("source", "static", "possible"),
    [
        ("weight >= 50", {}, {True, False}),
        ("weight >= 50", {"weight": 80.0}, {True}),
        ("weight >= 50", {"weight": 8.0}, {False}),
        ("weight >= 50 or loop.lag_ms > 9", {"weight": 80.0}, {True}),
        ("weight >= 50 and loop.lag_ms > 9", {"weight": 80.0}, {True, False}),
        ("weight >= 50 and loop.lag_ms > 9", {"weight": 8.0}, {False}),
        ("loop.lag_ms > 9", {"loop.lag_ms": None}, {False}),
        ("not loop.lag_ms > 9", {"loop.lag_ms": None}, {False}),
        ("not loop.lag_ms > 9", {"loop.lag_ms": 3.0}, {True}),
        ("queue in ['a', 'b']", {"queue": "a"}, {True}),
        ("queue not in ['a', 'b']", {"queue": "a"}, {False}),
        ("'x' in tags", {"tags": ("x",)}, {True}),
        ("'x' in tags", {"tags": ()}, {False}),
        ("is_async", {"is_async": True}, {True}),
        ("is_async and (weight >= 5 or False)", {"is_async": False}, {False}),
        ("1 < 2", {}, {True}),
    ],
)
def test_an_expression_knows_what_it_can_come_out_as(
    source: str, static: Mapping[str, object], possible: set[bool]
) -> None:
    assert Expression.parse(source).possible(static) == possible


def test_expressions_of_one_source_are_equal() -> None:
    assert Expression.parse("weight > 5") == Expression.parse("weight > 5")
    assert Expression.parse("weight > 5") != Expression.parse("weight > 6")


def test_the_longest_expression_is_read_and_a_longer_one_refused() -> None:
    longest = "weight >= 5" + " or is_async" * 165
    longest += " " * (MAX_LENGTH - len(longest))
    assert Expression.parse(longest).evaluate(LIGHT) is True
    with pytest.raises(ExpressionError, match="the expression has 2001 characters, and 2000 are the most"):
        Expression.parse(longest + " ")


def test_parentheses_are_read_up_to_a_depth() -> None:
    deepest = "(" * MAX_DEPTH + "is_async" + ")" * MAX_DEPTH
    assert Expression.parse(deepest).evaluate(LIGHT) is True
    with pytest.raises(ExpressionError, match=f"parentheses are nested more than {MAX_DEPTH} deep"):
        Expression.parse(f"({deepest})")


def test_parentheses_beside_each_other_are_not_nested() -> None:
    assert Expression.parse(" or ".join(["(is_async)"] * (MAX_DEPTH + 1))).evaluate(LIGHT) is True


def test_any_number_of_nots_is_read() -> None:
    assert Expression.parse("not " * 497 + "is_async").evaluate(LIGHT) is False


def test_the_largest_number_is_read() -> None:
    assert Expression.parse(f"weight <= {MAX_NUMBER}").evaluate(HEAVY) is True
    assert Expression.parse(f"weight >= -{MAX_NUMBER}").evaluate(HEAVY) is True
