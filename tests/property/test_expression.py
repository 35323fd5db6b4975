"""A ``when`` that makes sense means what it means in Python, and what follows from that."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.decision import BrokerReading, Facts, InProcessReading, LoopReading
from weighbridge.policy import FACTS, Expression
from weighbridge.policy.fact import Kind
from weighbridge.policy.fact_values import values_of

# -- facts --------------------------------------------------------------------------------------------------

WORDS = ("mail", "heavy", "app.render", "a  b", "#", "日本", "")
counts = st.integers(0, 5) | st.integers(0, 2**60)
amounts = st.integers(0, 100).map(float) | st.floats(0, 1e9)
texts = st.sampled_from(WORDS)


def facts(*, unknown: bool = True) -> st.SearchStrategy[Facts]:
    """Any valid facts; ``unknown``: with readings that may be unknown."""

    def reading(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return values | st.none() if unknown else values

    return st.builds(
        Facts,
        name=texts,
        weight=amounts,
        payload_bytes=reading(counts),
        queue=texts,
        priority=st.integers(-5, 5),
        tags=st.lists(texts, max_size=3).map(tuple),
        is_async=st.booleans(),
        in_process=st.builds(InProcessReading, running=counts, waiting=counts, threads_free=reading(counts)),
        loop=st.builds(LoopReading, lag_ms=reading(amounts), age_s=reading(amounts)),
        broker=st.builds(
            BrokerReading,
            available=reading(st.booleans()),
            waiting=reading(counts),
            age_s=reading(amounts),
        ),
    )


# -- expressions that make sense ----------------------------------------------------------------------------

numbers = (st.integers(-5, 60) | st.floats(-5, 1e9)).map(repr)
quoted = texts.map(lambda text: f"'{text}'")
flags = st.sampled_from(["True", "False"])
LITERALS = {Kind.NUMBER: numbers, Kind.TEXT: quoted, Kind.FLAG: flags}


def names_of(kind: Kind) -> st.SearchStrategy[str]:
    return st.sampled_from([fact.name for fact in FACTS.values() if fact.kind is kind])


def listed(kind: Kind) -> st.SearchStrategy[str]:
    return st.lists(LITERALS[kind], min_size=1, max_size=4).map(lambda members: f"[{', '.join(members)}]")


def joined(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map(" ".join)


def comparisons() -> st.SearchStrategy[str]:
    orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    equals = st.sampled_from(["==", "!="])
    within = st.sampled_from(["in", "not in"])
    either = {kind: names_of(kind) | LITERALS[kind] for kind in LITERALS}
    return st.one_of(
        names_of(Kind.FLAG),
        joined(either[Kind.NUMBER], orders, either[Kind.NUMBER]),
        joined(either[Kind.NUMBER], orders, either[Kind.NUMBER], orders, either[Kind.NUMBER]),
        joined(either[Kind.NUMBER], orders, names_of(Kind.NUMBER), within, listed(Kind.NUMBER)),
        joined(either[Kind.TEXT], equals, either[Kind.TEXT]),
        joined(either[Kind.FLAG], equals, either[Kind.FLAG]),
        *(joined(either[kind], within, listed(kind)) for kind in LITERALS),
        joined(either[Kind.TEXT], within, names_of(Kind.TAGS)),
        flags,
    )


gaps = st.sampled_from([" ", "\n\t", "  # a remark\n"])
sensible = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        joined("not (", inner, ")"),
        joined("not not (", inner, ")"),
        joined("(", inner, gaps, "and", gaps, inner, ")"),
        joined("(", inner, gaps, "or", gaps, inner, ")"),
        joined("(", inner, ")", "and not (", inner, ") or (", inner, ")"),
    ),
    max_leaves=6,
).filter(lambda source: len(source) <= 2_000)


def as_python(source: str, known: Facts) -> object:
    """What Python itself makes of the expression."""

    def space(value: Any) -> Any:
        if not is_dataclass(value):
            return value
        return types.SimpleNamespace(**{each.name: space(getattr(value, each.name)) for each in fields(value)})

    return eval(f"(\n{source}\n)", {"__builtins__": {}}, vars(space(known)))


@settings(max_examples=500)
@given(source=sensible, known=facts(unknown=False))
def test_an_expression_means_what_it_means_in_python(source: str, known: Facts) -> None:
    assert Expression.parse(source).evaluate(known) is as_python(source, known)


@given(source=sensible, partly=facts(), fully=facts(unknown=False))
def test_what_matches_with_unknown_readings_matches_whatever_they_turn_out_to_be(
    source: str, partly: Facts, fully: Facts
) -> None:
    expression = Expression.parse(source)
    filled = fill(partly, fully)
    for each in (expression, Expression.parse(f"not ({source})")):
        if each.evaluate(partly):
            assert each.evaluate(filled)


def fill(partly: Facts, fully: Facts) -> Facts:
    """``partly``, with the unknown readings taken from ``fully``."""

    def filled(one: Any, other: Any) -> Any:
        if one is None:
            return other
        if not is_dataclass(one):
            return one
        changes = {each.name: filled(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)}
        return replace(one, **changes)  # type: ignore[type-var]  # an instance: only those have values

    result: Facts = filled(partly, fully)
    return result


@given(source=sensible, some=facts(), known=st.sets(st.sampled_from(sorted(FACTS))))
def test_what_an_expression_can_come_out_as_holds_for_all_facts(source: str, some: Facts, known: set[str]) -> None:
    expression = Expression.parse(source)
    values = values_of(some)
    assert expression.evaluate(some) in expression.possible({name: values[name] for name in known})
    assert expression.possible(values) == {expression.evaluate(some)}


@given(source=sensible, some=facts(), other=facts())
def test_facts_that_an_expression_does_not_name_make_no_difference(source: str, some: Facts, other: Facts) -> None:
    expression = Expression.parse(source)
    tops = {name.partition(".")[0] for name in expression.reads}
    changed = replace(some, **{each.name: getattr(other, each.name) for each in fields(Facts) if each.name not in tops})
    assert expression.evaluate(changed) is expression.evaluate(some)


@given(source=sensible, some=facts())
def test_an_expression_on_one_line_is_the_same_expression(source: str, some: Facts) -> None:
    expression = Expression.parse(source)
    again = Expression.parse(expression.text)
    assert "\n" not in expression.text
    assert again.text == expression.text
    assert again.evaluate(some) is expression.evaluate(some)
