"""Rules that never decide, and what is said about them."""

from __future__ import annotations

import time

import pytest

from weighbridge.decision import Lane
from weighbridge.policy import Expression, Rule, RulePolicy, Unknown, load_policy, shipped_names
from weighbridge.policy.coverage import UnreachableRule, leaving_nothing, unreachable


def rules(*whens: str) -> list[Rule]:
    return [
        Rule.of(policy="test", name=f"rule {number}", when=Expression.parse(when), lane=Lane.QUEUE)
        for number, when in enumerate(whens, 1)
    ]


def found(*whens: str) -> dict[str, tuple[str, ...]]:
    return {each.rule: each.covered_by for each in unreachable(rules(*whens))}


@pytest.mark.parametrize("name", shipped_names())
def test_every_rule_that_is_shipped_can_decide(name: str) -> None:
    policy = load_policy(name)
    assert isinstance(policy, RulePolicy)
    assert unreachable(policy.rules) == ()


def test_a_rule_below_one_that_matches_more_is_found() -> None:
    assert found("weight >= 50", "weight >= 80") == {"rule 2": ("rule 1",)}


def test_a_rule_below_one_that_matches_less_can_decide() -> None:
    assert found("weight >= 80", "weight >= 50") == {}


def test_a_rule_below_two_that_leave_nothing_is_found() -> None:
    assert found("weight >= 50", "weight < 50", "is_async") == {"rule 3": ("rule 1", "rule 2")}


def test_only_the_rules_that_are_needed_are_named() -> None:
    covered = found("priority > 3", "weight >= 50", "is_async", "weight < 50", "'mail' in tags")
    assert covered == {"rule 5": ("rule 2", "rule 4")}


def test_one_rule_that_covers_it_is_named_before_two_that_do() -> None:
    covered = found("weight >= 50", "weight < 50 and not is_async", "weight < 90 or is_async", "weight == 10")
    assert covered["rule 4"] == ("rule 3",)


def test_a_rule_that_never_decides_covers_nothing() -> None:
    covered = found("weight >= 50", "weight >= 80", "weight >= 90")
    assert covered == {"rule 2": ("rule 1",), "rule 3": ("rule 1",)}


@pytest.mark.parametrize(
    "when",
    [
        "False",
        "weight < 0",
        "weight > 5 and weight < 5",
        "in_process.waiting > 3 and in_process.waiting < 4",
        "in_process.waiting == 3.5",
        "queue == 'mail' and queue == 'heavy'",
        "queue in ['mail', 'heavy'] and not queue in ['heavy', 'mail']",
        "'mail' in tags and queue == 'mail' and not queue in tags",
        "is_async and not is_async",
        "weight > loop.lag_ms and loop.lag_ms > broker.age_s and broker.age_s > weight",
        "in_process.running < in_process.waiting and 3 < in_process.running and in_process.waiting < 5",
    ],
)
def test_a_rule_that_matches_no_facts_is_found_alone(when: str) -> None:
    assert found("priority > 3", when) == {"rule 2": ()}


@pytest.mark.parametrize(
    "whens",
    [
        ("weight > 3 and weight < 4",),
        ("priority < 0",),
        ("queue == name and not name in ['a', 'b']",),
        ("queue != name and not name in ['a'] and not queue in ['a']",),
        ("'a' in tags and not 'b' in tags",),
        ("loop.lag_ms > 20", "not loop.lag_ms > 20", "is_async"),  # the unknown is left
        ("broker.available", "not broker.available", "True"),
        ("weight < in_process.waiting", "weight > in_process.waiting", "weight == in_process.waiting"),
        ("in_process.waiting < weight and weight < in_process.running and in_process.running <= 1",),
    ],
)
def test_a_rule_that_can_decide_is_left_alone(whens: tuple[str, ...]) -> None:
    assert found(*whens) == {}


def test_what_is_known_can_be_covered_where_the_unknown_is_not() -> None:
    covered = found("loop.lag_ms > 20", "not loop.lag_ms > 20", "loop.lag_ms >= 5")
    assert covered == {"rule 3": ("rule 1", "rule 2")}


def test_a_rule_that_matches_the_unknown_too_leaves_nothing_to_its_opposite() -> None:
    late = Rule.of(
        policy="test", name="late", when=Expression.parse("loop.lag_ms > 20", unknown=Unknown.MATCH), lane=Lane.QUEUE
    )
    rest = rules("not loop.lag_ms > 20", "is_async")
    assert [(each.rule, each.covered_by) for each in unreachable([late, *rest])] == [("rule 2", ("late", "rule 1"))]


def test_with_too_many_tags_nothing_is_said() -> None:
    tags = " or ".join(f"'{number}' in tags" for number in range(9))
    assert found(tags, tags) == {}


def test_where_the_budget_ends_nothing_more_is_said() -> None:
    written = rules("weight >= 50", "weight >= 80")
    assert unreachable(written, budget=3) == ()
    assert unreachable(written, budget=100)


def test_a_long_file_takes_no_time_that_anybody_would_notice() -> None:
    written = rules(
        *(
            f"weight >= {number} and in_process.waiting > {number} or queue == 'q{number}'"
            for number in range(40, 0, -1)
        )
    )
    start = time.perf_counter()
    assert unreachable(written) == ()
    assert time.perf_counter() - start < 2  # it takes some hundredths of a second; a busy machine takes longer


@pytest.mark.parametrize(
    ("covered_by", "problem"),
    [
        ((), "it matches no facts at all, so it never decides"),
        (("a",), "it never decides: rule 'a' matches first whenever it would"),
        (("a", "b", "c"), "it never decides: rules 'a', 'b' and 'c' together match first whenever it would"),
    ],
)
def test_a_rule_that_never_decides_says_why_and_what_to_do(covered_by: tuple[str, ...], problem: str) -> None:
    told = UnreachableRule(number=4, rule="d", covered_by=covered_by)
    assert told.problem == problem
    assert told.remedy


def test_a_rule_of_a_base_is_not_to_be_changed() -> None:
    told = UnreachableRule(number=2, rule="b", covered_by=("a",), origin="by-weight")
    assert told.remedy.startswith("it comes from by-weight, so that may be what the file is for")


def test_rules_that_leave_nothing_are_the_fewest() -> None:
    assert leaving_nothing(rules("priority > 3", "weight >= 50", "is_async", "weight < 60")) == ("rule 2", "rule 4")
    assert leaving_nothing(rules("weight >= 50", "weight >= 80", "True")) == ("rule 3",)


def test_where_some_calls_get_further_or_nobody_knows_there_are_none() -> None:
    assert leaving_nothing(()) == ()
    assert leaving_nothing(rules("weight >= 50", "weight < 50 and is_async")) == ()
    assert leaving_nothing(rules("loop.lag_ms >= 0")) == ()  # it may be unknown
    assert leaving_nothing(rules("True"), budget=0) == ()
