"""Whatever a policy's rules are: an explanation is its decision, and what it says is so."""

from __future__ import annotations

from itertools import combinations

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.property.test_expression import facts, sensible
from tests.property.test_policy import policies

from weighbridge.decision import Facts, Lane
from weighbridge.policy import Expression, Rule, RulePolicy
from weighbridge.policy.change import MOST_FACTS
from weighbridge.policy.explanation import explain
from weighbridge.policy.fact_values import changed, values_of
from weighbridge.policy.rule import last_word


@st.composite
def wild_policies(draw: st.DrawFn) -> RulePolicy:
    """A policy of any expressions that make sense."""
    drawn = draw(st.lists(st.tuples(sensible, st.sampled_from(list(Lane))), max_size=4))
    rules = [
        Rule.of(policy="drawn", name=f"rule {number}", when=Expression.parse(when), lane=lane)
        for number, (when, lane) in enumerate(drawn, 1)
    ]
    otherwise = last_word(policy="drawn", lane=Lane.IN_PROCESS)
    return RulePolicy(name="drawn", source="drawn.toml", rules=tuple(rules), otherwise=otherwise)


@given(policy=policies() | wild_policies(), some=facts())
def test_an_explanation_is_the_decision(policy: RulePolicy, some: Facts) -> None:
    decision, told = policy.decide(some), explain(policy, some)
    assert told == decision
    assert decision == told
    assert hash(told) == hash(decision)
    assert str(told).startswith(f"{decision.lane}, by ")


@given(policy=policies() | wild_policies(), some=facts())
def test_only_the_last_rule_that_was_tried_matched(policy: RulePolicy, some: Facts) -> None:
    told = explain(policy, some)
    assert not any(rule.matched for rule in told.tried[:-1])
    if told.rule == "otherwise":
        assert len(told.tried) == len(policy.rules)
    else:
        assert (told.tried[-1].name, told.tried[-1].matched) == (told.rule, True)


@settings(max_examples=200)
@given(policy=policies() | wild_policies(), some=facts())
def test_a_change_gives_the_other_lane(policy: RulePolicy, some: Facts) -> None:
    told = explain(policy, some)
    assert len({len(change.values) for change in told.changes}) <= 1
    for change in told.changes:
        then = policy.decide(change.applied(some))
        assert (then.lane, then.rule) == (change.lane, change.rule)
        assert change.lane is not told.lane
        assert "name" not in change.values
        assert len(change.values) <= MOST_FACTS
        known = values_of(some)
        assert dict(change.instead_of) == {name: known[name] for name in change.values}


@given(policy=policies() | wild_policies(), some=facts(), other=facts())
def test_no_change_is_missed_where_all_was_tried(policy: RulePolicy, some: Facts, other: Facts) -> None:
    told = explain(policy, some)
    assume(told.all_searched)
    fewest = min((len(change.values) for change in told.changes), default=MOST_FACTS + 1)
    values = {name: value for name, value in values_of(other).items() if name in policy.reads - {"name"}}
    for count in range(1, min(fewest, MOST_FACTS + 1)):
        for names in combinations((name for name, value in values.items() if value is not None), count):
            assert policy.decide(changed(some, {name: values[name] for name in names})).lane is told.lane
