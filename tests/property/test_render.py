"""A policy that is written and read again is the same policy, whatever stands in it."""

from __future__ import annotations

import tomllib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.property.test_policy import POLICIES, as_toml, expressions, facts

from weighbridge.decision import Facts, Lane
from weighbridge.policy import (
    FACTS,
    Expression,
    Rule,
    RulePolicy,
    Unknown,
    parse_policy,
    policy_schema,
    render,
    shipped_names,
)
from weighbridge.policy.coverage import unreachable

VALIDATOR = Draft202012Validator(policy_schema())

signs = st.text(st.sampled_from("a '\"\\\n\t\r#[]=\x7f\x00\u2028é🙂"), max_size=12)
texts = signs | st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.just("'''\n'")
names = texts.map(lambda text: "".join(filter(str.isprintable, text)).strip()).filter(
    lambda text: text not in ("", "otherwise")
)


@st.composite
def whens(draw: st.DrawFn) -> str:
    """An expression, with the line breaks, comments and quotes that one may have."""
    comment = draw(signs).replace("\n", " ").replace("\r", " ")
    text = draw(names).replace("\\", "").replace("'", "")
    return draw(
        st.sampled_from(["", "\n", " ", f"# {comment}\n"])
        | st.just(f"name == '{text}' or\n")
        | st.just(f"queue != '{text}'\n  and ")
    ) + draw(expressions)


@st.composite
def policies(draw: st.DrawFn) -> RulePolicy:
    """A policy with all keys that there are, and values of all sorts."""
    lane = st.sampled_from(['"queue"', '"in_process"'])
    extends = draw(st.sampled_from(["", *shipped_names()]))
    parts = ["schema = 1", f"description = {as_toml(draw(texts))}"]
    if extends:
        parts.append(f'extends = "{extends}"')
    before: list[Rule] = []
    for name in draw(st.lists(names.map(lambda text: f"{text}_"), max_size=3, unique=True)):
        when = draw(whens())
        unknown = draw(st.sampled_from(Unknown))
        rule = Rule.of(policy="drawn", name=name, when=Expression.parse(when, unknown=unknown), lane=Lane.QUEUE)
        if unreachable([*before, rule]):
            continue  # which no file may have
        before.append(rule)
        parts += ["[[rule]]", f"name = {as_toml(name)}", f"when = {as_toml(when)}", f"lane = {draw(lane)}"]
        parts += draw(st.sampled_from([[], [f"reason = {as_toml(draw(texts))}"]]))
        if rule.when.can_be_unknown and (unknown is Unknown.MATCH or draw(st.booleans())):
            parts.append(f'unknown = "{unknown}"')
    if not extends or draw(st.booleans()):
        parts += ["[otherwise]", f"lane = {draw(lane)}", f"reason = {as_toml(draw(texts))}"]
    policy = parse_policy("\n".join(parts), name="drawn", source="drawn.toml")
    for some in draw(st.lists(facts | st.builds(Facts, name=texts, tags=st.lists(texts).map(tuple)), max_size=2)):
        parts += ["[[example]]", f"facts = {as_toml(written(some))}", f'lane = "{policy.decide(some).lane}"']
    return parse_policy("\n".join(parts), name="drawn", source="drawn.toml")


def written(some: Facts) -> dict[str, object]:
    table: dict[str, object] = {}
    for name in FACTS:
        group, _, part = name.rpartition(".")
        value = getattr(getattr(some, group) if group else some, part)
        into = table.setdefault(group, {}) if group else table
        if value is not None:
            assert isinstance(into, dict)
            into[part] = list(value) if isinstance(value, tuple) else value
    return table


def without_revision(policy: RulePolicy) -> RulePolicy:
    return replace(
        policy,
        revision="",
        otherwise=replace(policy.otherwise, revision=""),
        rules=tuple(replace(rule, decision=replace(rule.decision, revision="")) for rule in policy.rules),
    )


@given(policy=policies())
def test_a_policy_that_is_written_and_read_is_the_same(policy: RulePolicy) -> None:
    text = render(policy)
    again = parse_policy(text, name=policy.name, source=policy.source)
    assert without_revision(again) == without_revision(policy)
    assert render(again) == text


@given(policy=policies())
def test_a_policy_that_can_be_read_satisfies_the_schema(policy: RulePolicy) -> None:
    assert list(VALIDATOR.iter_errors(tomllib.loads(render(policy)))) == []


@given(some=facts)
def test_a_shipped_policy_that_is_written_and_read_decides_the_same(some: Facts) -> None:
    for policy in POLICIES.values():
        assert isinstance(policy, RulePolicy)
        again = parse_policy(render(policy), name=policy.name, source=policy.source)
        assert without_revision(again) == without_revision(policy)
        assert replace(again.decide(some), revision="") == replace(policy.decide(some), revision="")
