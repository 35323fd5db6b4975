"""What a rule makes of a statement that is neither true nor false, since a reading is unknown."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from weighbridge.decision import Facts, Lane, LoopReading
from weighbridge.errors import PolicyError
from weighbridge.policy import Expression, RulePolicy, Unknown, parse_policy

LATE = Facts(loop=LoopReading(lag_ms=30.0))
PROMPT = Facts(loop=LoopReading(lag_ms=3.0))
NOT_MEASURED = Facts(weight=80.0)


def policy(unknown: str, when: str = "loop.lag_ms > 20") -> RulePolicy:
    text = f'schema = 1\n[[rule]]\nname = "late"\nwhen = "{when}"\nlane = "queue"\n{unknown}'
    return parse_policy(f'{text}[otherwise]\nlane = "in_process"\n', name="ours", source="ours.toml")


@pytest.mark.parametrize(
    ("unknown", "lane"),
    [("", Lane.IN_PROCESS), ('unknown = "no match"\n', Lane.IN_PROCESS), ('unknown = "match"\n', Lane.QUEUE)],
)
def test_a_rule_says_what_an_unknown_reading_means(unknown: str, lane: Lane) -> None:
    assert policy(unknown).decide(NOT_MEASURED).lane is lane
    assert policy(unknown).decide(LATE).lane is Lane.QUEUE
    assert policy(unknown).decide(PROMPT).lane is Lane.IN_PROCESS


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("loop.lag_ms > 20", True),
        ("not loop.lag_ms > 20", True),
        ("loop.lag_ms > 20 and weight >= 50", True),
        ("loop.lag_ms > 20 and weight >= 90", False),
        ("loop.lag_ms > 20 or weight >= 90", True),
        ("not (loop.lag_ms > 20 or weight >= 50)", False),
        ("broker.available", True),
        ("not broker.available", True),
        ("payload_bytes in [1, 2] and 'a' in tags", False),
    ],
)
def test_with_match_a_statement_matches_unless_it_certainly_fails(source: str, holds: bool) -> None:
    assert Expression.parse(source, unknown=Unknown.MATCH).evaluate(NOT_MEASURED) is holds


@pytest.mark.parametrize(
    ("source", "static", "possible"),
    [
        ("loop.lag_ms > 20", {}, {True, False}),
        ("loop.lag_ms > 20", {"loop.lag_ms": None}, {True}),
        ("not loop.lag_ms > 20", {"loop.lag_ms": None}, {True}),
        ("loop.lag_ms > 20 and weight >= 50", {"loop.lag_ms": None}, {True, False}),
        ("loop.lag_ms > 20 and weight >= 50", {"loop.lag_ms": None, "weight": 1.0}, {False}),
        ("loop.lag_ms > 20", {"loop.lag_ms": 3.0}, {False}),
    ],
)
def test_what_is_possible_takes_it_into_account(source: str, static: Mapping[str, object], possible: set[bool]) -> None:
    assert Expression.parse(source, unknown=Unknown.MATCH).possible(static) == possible


def test_expressions_of_one_source_that_treat_the_unknown_otherwise_differ() -> None:
    one = Expression.parse("loop.lag_ms > 20")
    assert one == Expression.parse("loop.lag_ms > 20", unknown=Unknown.NO_MATCH)
    assert one != Expression.parse("loop.lag_ms > 20", unknown=Unknown.MATCH)


@pytest.mark.parametrize("unknown", Unknown)
def test_a_rule_in_which_nothing_can_be_unknown_does_not_say_so(unknown: Unknown) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(f'unknown = "{unknown}"\n', when="weight >= 50")
    assert str(caught.value) == (
        "policy ours.toml, line 6, rule 'late', unknown: no fact in its when can be unknown\n"
        f'    unknown = "{unknown}"\n'
        "    ^^^^^^^\n"
        "leave it out"
    )
