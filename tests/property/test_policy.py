"""Whatever rules a policy has: it answers, always the same, and only by what it says that it reads."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import weighbridge
from weighbridge.decision import BrokerReading, Decision, Facts, InProcessReading, Lane, LoopReading
from weighbridge.errors import PolicyError, PolicyNotFoundError
from weighbridge.policy import (
    FACTS,
    Expression,
    Rule,
    RulePolicy,
    Unknown,
    ask,
    load_policy,
    parse_policy,
    shipped_names,
)
from weighbridge.policy.fact_values import values_of
from weighbridge.policy.rule import last_word

SHIPPED = Path(weighbridge.__file__).parents[2] / "policies"

POLICIES = {name: load_policy(name) for name in shipped_names()}

words = st.sampled_from(["", "default", "heavy", "mail", "app.render"])
counts = st.integers(0, 20)
amounts = st.floats(0, 1e6) | st.integers(0, 100).map(float)
facts = st.builds(
    Facts,
    name=words,
    weight=amounts,
    payload_bytes=st.none() | counts,
    queue=words,
    priority=st.integers(-3, 3),
    tags=st.lists(words, max_size=2).map(tuple),
    is_async=st.booleans(),
    in_process=st.builds(InProcessReading, running=counts, waiting=counts, threads_free=st.none() | counts),
    loop=st.builds(LoopReading, lag_ms=st.none() | amounts, age_s=st.none() | amounts),
    broker=st.builds(
        BrokerReading,
        available=st.none() | st.booleans(),
        waiting=st.none() | counts,
        age_s=st.none() | amounts,
    ),
)
lanes = st.sampled_from(list(Lane))
expressions = st.sampled_from(
    [
        "weight >= 50",
        "weight >= 50 or (is_async and weight >= 5)",
        "in_process.waiting >= 8",
        "in_process.threads_free == 0 and not is_async",
        "loop.lag_ms > 20",
        "not loop.lag_ms > 20",
        "broker.available and broker.waiting < 10",
        "not (broker.available and broker.age_s < 5)",
        "'mail' in tags",
        "queue in ['heavy', 'mail'] and priority <= 0",
        "name == 'app.render' or payload_bytes > 10",
        "True",
        "False",
    ]
)


@st.composite
def policies(draw: st.DrawFn) -> RulePolicy:
    """A policy of any rules; those that never decide are among them, which no file may have."""
    drawn = draw(st.lists(st.tuples(expressions, lanes, st.sampled_from(Unknown)), max_size=7))
    return RulePolicy(
        name="drawn",
        source="drawn.toml",
        rules=tuple(
            Rule.of(
                policy="drawn",
                name=f"rule {number}",
                when=Expression.parse(when, unknown=unknown),
                lane=lane,
                revision="drawn",
            )
            for number, (when, lane, unknown) in enumerate(drawn, 1)
        ),
        otherwise=last_word(policy="drawn", lane=draw(lanes), revision="drawn"),
        revision="drawn",
    )


@given(policy=policies(), some=facts)
def test_a_policy_answers_for_all_facts_and_always_the_same(policy: RulePolicy, some: Facts) -> None:
    decision = ask(policy, some)
    assert isinstance(decision, Decision)
    assert decision.rule in {"otherwise", *(rule.name for rule in policy.rules)}
    assert decision.reason.startswith("policy drawn, ")
    assert policy.decide(replace(some)) == decision


@given(policy=policies(), some=facts)
def test_the_first_rule_that_matches_decides(policy: RulePolicy, some: Facts) -> None:
    first = next((rule.decision for rule in policy.rules if rule.when.evaluate(some)), policy.otherwise)
    assert policy.decide(some) is first


@given(policy=policies(), some=facts, other=facts)
def test_only_the_facts_that_a_policy_reads_make_a_difference(policy: RulePolicy, some: Facts, other: Facts) -> None:
    read = {name.partition(".")[0] for name in policy.reads}
    unread = {each.name: getattr(other, each.name) for each in fields(Facts) if each.name not in read}
    assert policy.decide(replace(some, **unread)) is policy.decide(some)


@given(policy=policies(), some=facts, known=st.sets(st.sampled_from(sorted(FACTS))))
def test_a_decision_is_among_the_lanes_that_were_left(policy: RulePolicy, some: Facts, known: set[str]) -> None:
    values = values_of(some)
    lane = policy.decide(some).lane
    assert lane in policy.possible_lanes({name: values[name] for name in known})
    assert policy.possible_lanes(values) == {lane}


@given(some=facts)
def test_every_shipped_policy_answers_for_all_facts(some: Facts) -> None:
    for policy in POLICIES.values():
        ask(policy, some)


@given(weight=st.floats(0, 4.999), some=facts)
def test_by_weight_keeps_every_light_call_here(weight: float, some: Facts) -> None:
    assert POLICIES["by-weight"].decide(replace(some, weight=weight)).lane is Lane.IN_PROCESS


@given(weight=st.floats(50, 1e9), some=facts)
def test_by_weight_queues_every_heavy_call(weight: float, some: Facts) -> None:
    assert POLICIES["by-weight"].decide(replace(some, weight=weight)).lane is Lane.QUEUE


# -- files that are wrong -----------------------------------------------------------------------------------

KEYS = ["schema", "description", "rule", "otherwise", "example", "name", "when", "lane", "reason", "facts", "x"]
keys = st.sampled_from([*KEYS, *(name for name in FACTS if "." not in name), "in_process", "loop"])
scalars = st.one_of(
    st.integers(-3, 3),
    st.floats(allow_nan=True),
    st.booleans(),
    st.sampled_from(["queue", "in_process", "weight > 5", "otherwise", "", "a\nb"]),
    st.text(max_size=5),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


def as_toml(value: Any) -> str:
    """One value as TOML writes it, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            # JSON's escapes are TOML's, but for the surrogates and the delete character
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case float() if not math.isfinite(value):
            return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
        case list():
            return f"[{', '.join(as_toml(each) for each in value)}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {as_toml(each)}' for key, each in value.items())} }}"
        case _:
            return repr(value)


def check(text: str) -> None:
    """A text is a policy that answers, or is refused with the file's name and a remedy."""
    try:
        policy = parse_policy(text, name="drawn", source="drawn.toml")
    except PolicyError as error:
        refusal = error
    else:
        ask(policy, Facts())
        return
    assert str(refusal).startswith("policy drawn.toml")
    assert refusal.problem
    assert refusal.remedy
    assert re.match(r"line [1-9]\d*(, |$)", refusal.where)
    assert refusal.excerpt or not text.strip()


@given(table=st.dictionaries(keys, values, max_size=5))
def test_any_table_is_a_policy_or_is_refused(table: dict[str, Any]) -> None:
    check("".join(f"{key} = {as_toml(value)}\n" for key, value in table.items()))


@given(
    rule=st.dictionaries(keys, values, max_size=4),
    otherwise=st.dictionaries(keys, values, max_size=2),
    example=st.dictionaries(keys, values, max_size=3),
)
def test_any_tables_in_the_right_places_are_a_policy_or_are_refused(
    rule: dict[str, Any], otherwise: dict[str, Any], example: dict[str, Any]
) -> None:
    rule = {"name": "a", "when": "is_async", "lane": "queue", **rule}
    otherwise = {"lane": "queue", **otherwise}
    example = {"facts": {}, "lane": "queue", **example}
    tables = {"schema": 1, "rule": [rule], "otherwise": otherwise, "example": [example]}
    check("".join(f"{key} = {as_toml(value)}\n" for key, value in tables.items()))


@given(
    name=st.sampled_from(shipped_names()),
    place=st.integers(0, 3_000),
    length=st.integers(0, 30),
    patch=st.text(max_size=4) | st.sampled_from(['"', "'", "[[rule]]\n", "[", "]", "=", "{", "#", "\n", "\r", "\0"]),
)
def test_a_damaged_file_is_a_policy_or_is_refused(name: str, place: int, length: int, patch: str) -> None:
    text = (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    check(text[:place] + patch + text[place + length :])


@given(text=st.text())
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    check(text)


@given(reference=st.text(st.characters(exclude_characters="/\\:"), max_size=20))
def test_any_name_is_shipped_or_is_refused(reference: str) -> None:
    try:
        policy = load_policy(reference)
    except PolicyNotFoundError as error:
        refusal = error
    else:
        assert isinstance(policy, RulePolicy)
        return
    assert refusal.remedy
