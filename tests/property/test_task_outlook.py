"""Whatever a policy's rules are: what is said about a task before a call holds for each of its calls."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_expression import facts
from tests.property.test_policy import policies

from weighbridge.cli.policy.task_outlook import possible_decisions
from weighbridge.decision import Facts
from weighbridge.policy import FACTS, RulePolicy, parse_policy
from weighbridge.policy.fact_values import changed, values_of

known = st.sets(st.sampled_from(sorted(FACTS)))


@given(policy=policies(), some=facts(), known=known)
def test_a_decision_is_among_those_that_are_possible(policy: RulePolicy, some: Facts, known: set[str]) -> None:
    values = values_of(some)
    decisions, _ = possible_decisions(policy, {name: values[name] for name in known})
    assert policy.decide(some) in decisions
    assert {each.lane for each in decisions} == policy.possible_lanes({name: values[name] for name in known})


@given(policy=policies(), some=facts(), other=facts(), known=known)
def test_other_facts_than_those_that_are_named_do_not_change_the_lane(
    policy: RulePolicy, some: Facts, other: Facts, known: set[str]
) -> None:
    values = values_of(some)
    _, named = possible_decisions(policy, {name: values[name] for name in known})
    fixed = {name: values[name] for name in {*known, *named}}
    assert policy.decide(changed(other, fixed)).lane is policy.decide(some).lane


#: With values for each fact that is named, among which two that give another lane: the rules, what is known, the facts.
CASES: list[tuple[list[tuple[str, str]], dict[str, object], dict[str, list[object]]]] = [
    (
        [
            ("(is_async and in_process.waiting > 3) or loop.lag_ms > 50", "queue"),
            ("payload_bytes > 1000", "in_process"),
        ],
        {"is_async": False},
        {"loop.lag_ms": [0.0, 60.0]},
    ),
    (
        [("loop.lag_ms > 50", "queue"), ("payload_bytes > 1000", "queue"), ("in_process.waiting > 3", "in_process")],
        {},
        {"loop.lag_ms": [0.0, 60.0], "payload_bytes": [0, 2000]},
    ),
    ([("weight > 9 or payload_bytes > 1000", "queue")], {"weight": 1.0}, {"payload_bytes": [0, 2000]}),
    ([("weight > 9 or payload_bytes > 1000", "queue")], {"weight": 10.0}, {}),
    ([("not (weight > 9 and loop.lag_ms > 50)", "queue")], {"weight": 10.0}, {"loop.lag_ms": [0.0, 60.0]}),
    (
        [("not (loop.lag_ms > 50 and payload_bytes > 1000)", "queue")],
        {"loop.lag_ms": None},
        {"payload_bytes": [0, 2000]},
    ),
    ([("loop.lag_ms > 50 and payload_bytes > 1000", "queue")], {"loop.lag_ms": None}, {}),
    ([("payload_bytes > 1000", "in_process"), ("weight > 9", "queue")], {"weight": 10.0}, {"payload_bytes": [0, 2000]}),
    ([("payload_bytes > 1000", "in_process"), ("weight > 9", "queue")], {"weight": 1.0}, {}),
]


@pytest.mark.parametrize(("rules", "static", "values"), CASES)
def test_each_fact_that_is_named_can_change_the_lane(
    rules: list[tuple[str, str]], static: dict[str, object], values: dict[str, list[object]]
) -> None:
    policy = parse_policy(
        "schema = 1\n"
        + "".join(
            f'[[rule]]\nname = "{number}"\nwhen = "{when}"\nlane = "{lane}"\n'
            for number, (when, lane) in enumerate(rules)
        )
        + '[otherwise]\nlane = "in_process"\n',
        name="mine",
        source="mine.toml",
    )
    _, named = possible_decisions(policy, static)
    assert set(named) == set(values)
    every = [dict(zip(values, each, strict=True)) for each in product(*values.values())]
    for name in named:
        assert any(
            policy.decide(changed(Facts(), {**static, **one})).lane
            is not policy.decide(changed(Facts(), {**static, **one, name: value})).lane
            for one in every
            for value in values[name]
        )
