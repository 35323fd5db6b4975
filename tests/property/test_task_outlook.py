"""Whatever a policy's rules are: what is said about a task before a call holds for each of its calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_expression import facts
from tests.property.test_policy import policies

from weighbridge.cli.policy.task_outlook import possible_decisions
from weighbridge.decision import Facts
from weighbridge.policy import FACTS, RulePolicy
from weighbridge.policy.fact_values import changed, values_of

known = st.sets(st.sampled_from(sorted(FACTS)))


@given(policy=policies(), some=facts(), known=known)
def test_a_decision_is_among_those_that_are_possible(policy: RulePolicy, some: Facts, known: set[str]) -> None:
    values = values_of(some)
    decisions, _ = possible_decisions(policy, {name: values[name] for name in known})
    assert policy.decide(some) in decisions
    assert {each.lane for each in decisions} == policy.possible_lanes({name: values[name] for name in known})


@given(policy=policies(), some=facts(), other=facts(), known=known)
def test_other_facts_than_those_that_are_named_make_no_difference(
    policy: RulePolicy, some: Facts, other: Facts, known: set[str]
) -> None:
    values = values_of(some)
    _, named = possible_decisions(policy, {name: values[name] for name in known})
    fixed = {name: values[name] for name in {*known, *named}}
    assert policy.decide(changed(other, fixed)) is policy.decide(some)
