"""Whatever a policy's rules are: a few values stand for all, and no rule that can decide is called unreachable."""

from __future__ import annotations

from itertools import islice, product

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_expression import comparisons, facts, sensible

from weighbridge.decision import Facts, Lane
from weighbridge.policy import Expression, Rule, Unknown
from weighbridge.policy.cells import cells_of
from weighbridge.policy.coverage import unreachable
from weighbridge.policy.fact_values import changed, values_of

#: Few literals, near to each other, so that rules often cover each other.
close = st.sampled_from(
    [
        "weight >= 50",
        "weight < 50",
        "20 <= weight <= 50",
        "weight > 20 or is_async",
        "weight != 50",
        "is_async",
        "not is_async",
        "in_process.waiting > 3",
        "in_process.waiting < 4",
        "in_process.waiting < in_process.running",
        "in_process.running <= in_process.waiting",
        "weight > in_process.waiting",
        "loop.lag_ms > 20",
        "loop.lag_ms <= 20",
        "'mail' in tags",
        "queue in tags",
        "queue == 'mail' or queue == name",
        "priority < 0",
        "broker.available",
    ]
)
joined = st.recursive(
    close,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" and ".join).map("({})".format),
        st.tuples(inner, inner).map(" or ".join).map("({})".format),
        inner.map("not ({})".format),
    ),
    max_leaves=4,
)


unknowns = st.lists(st.sampled_from(Unknown), min_size=6, max_size=6)


def rules_of(whens: list[str], unknown: list[Unknown] | None = None) -> list[Rule]:
    kinds = unknown or [Unknown.NO_MATCH] * len(whens)
    return [
        Rule.of(policy="drawn", name=f"rule {number}", when=Expression.parse(when, unknown=kind), lane=Lane.QUEUE)
        for number, (when, kind) in enumerate(zip(whens, kinds, strict=False), 1)
    ]


def cells_stand_for(sources: list[str], some: Facts) -> bool:
    """Whether a combination of the cells' values makes every comparison, and its ``not``, come out as for ``some``."""
    expressions = [Expression.parse(text) for source in sources for text in (source, f"not ({source})")]
    cells = cells_of(expression.statement for expression in expressions)
    outcome = [expression.evaluate(some) for expression in expressions]
    combinations = product(*(each.values for each in cells.values()))
    return any(
        [each.evaluate(changed(Facts(), dict(zip(cells, values, strict=True)))) for each in expressions] == outcome
        for values in islice(combinations, 20_000)
    )


@settings(max_examples=60)
@given(sources=st.lists(comparisons(), min_size=1, max_size=2), some=facts())
def test_for_all_facts_there_are_cells_for_which_each_comparison_comes_out_alike(
    sources: list[str], some: Facts
) -> None:
    assert cells_stand_for(sources, some)


@given(
    sources=st.lists(
        st.sampled_from(
            [
                "weight < in_process.waiting",
                "in_process.running < weight",
                "in_process.waiting < in_process.running",
                "weight == in_process.running",
                "priority <= in_process.waiting",
                "weight > 2.5",
                "in_process.running <= 3",
                "priority > -1",
            ]
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    some=facts(),
)
def test_whole_numbers_and_others_can_lie_in_any_order(sources: list[str], some: Facts) -> None:
    assert cells_stand_for(sources, some)


@settings(max_examples=150)
@given(
    whens=st.lists(joined | sensible, max_size=6),
    unknown=unknowns,
    some=st.lists(facts(), min_size=20, max_size=20),
)
def test_a_rule_that_some_facts_reach_is_not_called_unreachable(
    whens: list[str], unknown: list[Unknown], some: list[Facts]
) -> None:
    rules = rules_of(whens, unknown)
    found = {each.number for each in unreachable(rules)}
    for each in some:
        deciding = next((number for number, rule in enumerate(rules, 1) if rule.when.evaluate(each)), None)
        assert deciding not in found


@given(whens=st.lists(joined, max_size=6), unknown=unknowns, some=facts())
def test_what_covers_a_rule_matches_all_that_it_matches(whens: list[str], unknown: list[Unknown], some: Facts) -> None:
    rules = rules_of(whens, unknown)
    by_name = {rule.name: rule.when for rule in rules}
    for each in unreachable(rules):
        assert rules[each.number - 1].name == each.rule
        if by_name[each.rule].evaluate(some):
            assert any(by_name[name].evaluate(some) for name in each.covered_by)


@given(whens=st.lists(close, min_size=1, max_size=3), where=st.integers(0, 3))
def test_a_rule_after_its_own_copy_is_found(whens: list[str], where: int) -> None:
    copied = whens[where % len(whens)]
    rules = rules_of([*whens, f"{copied} and is_async", copied])
    assert {len(whens) + 1, len(whens) + 2} <= {each.number for each in unreachable(rules)}


@given(some=facts(), other=facts())
def test_facts_changed_by_all_values_of_others_are_those(some: Facts, other: Facts) -> None:
    assert changed(some, values_of(other)) == other
    assert changed(some, {}) == some


@settings(max_examples=300)
@given(when=sensible, around=facts())
def test_cells_are_found_for_every_expression(when: str, around: Facts) -> None:
    expression = Expression.parse(when)
    assert cells_of([expression.statement], around=values_of(around)).keys() == expression.reads


@given(whens=st.lists(joined, max_size=6), budget=st.integers(0, 50))
def test_a_smaller_budget_finds_less_and_nothing_else(whens: list[str], budget: int) -> None:
    rules = rules_of(whens)
    assert set(unreachable(rules, budget=budget)) <= set(unreachable(rules))
