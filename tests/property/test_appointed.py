"""Whatever a policy's rules: what is decided once for a task is what would be decided for each of its calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_policy import amounts, facts, policies, words

from weighbridge.appointed import Appointed, PolicyFailures
from weighbridge.arguments import ArgumentCodec
from weighbridge.decision import Facts
from weighbridge.policy import RulePolicy
from weighbridge.task import TaskSpec


def report(rows: list[int]) -> None: ...


@st.composite
def specs(draw: st.DrawFn) -> TaskSpec:
    return TaskSpec(
        name=draw(words),
        func=report,
        codec=ArgumentCodec(report, task="report"),
        is_async=draw(st.booleans()),
        weight=draw(amounts),
        queue=draw(words),
        priority=draw(st.integers(-3, 3)),
        tags=draw(st.lists(words, max_size=2).map(tuple)),
    )


def facts_of_call(spec: TaskSpec, weight: float, load: Facts) -> Facts:
    declared: dict[str, Any] = {name: getattr(spec, name) for name in ("name", "is_async", "queue", "priority", "tags")}
    return replace(load, weight=weight, **declared)


@given(policy=policies(), spec=specs(), weight=st.none() | amounts, loads=st.lists(facts, min_size=1, max_size=5))
def test_a_static_decision_is_the_one_that_every_load_gives(
    policy: RulePolicy, spec: TaskSpec, weight: float | None, loads: list[Facts]
) -> None:
    assert not callable(spec.weight)
    weight = spec.weight if weight is None else weight
    appointed = Appointed(policy, failures=PolicyFailures())

    first, again = appointed.static(spec, weight), appointed.static(spec, weight)

    assert first is again
    if first is not None:
        assert {id(policy.decide(facts_of_call(spec, weight, load))) for load in loads} == {id(first)}


@given(policy=policies(), spec=specs(), loads=st.lists(facts, min_size=2, max_size=6))
@settings(max_examples=400)
def test_a_decision_that_load_changes_is_not_static(policy: RulePolicy, spec: TaskSpec, loads: list[Facts]) -> None:
    assert not callable(spec.weight)
    weight = spec.weight
    rules = {policy.decide(facts_of_call(spec, weight, load)).rule for load in loads}

    # Not assumed: of policies that are made up, few have a rule over load that some of the loads meet.
    if len(rules) > 1:
        assert Appointed(policy, failures=PolicyFailures()).static(spec, weight) is None


@given(policy=policies(), some=facts)
def test_an_appointed_policy_decides_as_it_does_by_itself(policy: RulePolicy, some: Facts) -> None:
    assert Appointed(policy, failures=PolicyFailures()).decide(some) is policy.decide(some)
