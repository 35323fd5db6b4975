"""A policy file that extends a shipped policy: what it takes over, and what it adds."""

from __future__ import annotations

import pytest

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import RulePolicy, load_policy, parse_policy, shipped_names

SHIPPED = ", ".join(shipped_names())
HEAD = 'schema = 1\nextends = "by-weight"\n'
MAIL = '[[rule]]\nname = "mail"\nwhen = "\'mail\' in tags"\nlane = "queue"\n'


def parsed(text: str) -> RulePolicy:
    return parse_policy(text, name="ours", source="ours.toml")


def refusal(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parsed(text)
    return str(caught.value)


def test_own_rules_come_before_those_of_the_base() -> None:
    policy = parsed(HEAD + MAIL)
    assert [(rule.name, rule.origin) for rule in policy.rules] == [
        ("mail", ""),
        ("heavy work is queued", "by-weight"),
    ]
    assert policy.extends == "by-weight"
    assert policy.decide(Facts(tags=("mail",))).rule == "mail"


def test_a_decision_of_the_base_says_both_names() -> None:
    policy = parsed(HEAD + MAIL)
    assert policy.decide(Facts(weight=80.0)) == Decision(
        lane=Lane.QUEUE,
        reason="policy ours, rule 'heavy work is queued' of by-weight: weight >= 50 or (is_async and weight >= 5)",
        rule="heavy work is queued",
        revision=policy.revision,
    )


def test_the_last_word_is_the_base_s_if_the_file_has_none() -> None:
    decision = parsed(HEAD).decide(Facts())
    assert (decision.lane, decision.reason) == (
        Lane.IN_PROCESS,
        "policy ours, otherwise of by-weight: no rule matches",
    )


def test_the_last_word_of_the_file_comes_in_the_place_of_the_base_s() -> None:
    decision = parsed(HEAD + "[otherwise]\nlane = 'queue'\nreason = 'as agreed'\n").decide(Facts())
    assert (decision.lane, decision.reason) == (Lane.QUEUE, "policy ours, otherwise: as agreed")


def test_the_examples_of_the_base_are_not_taken_over() -> None:
    policy = parsed(HEAD + "[[rule]]\nname = 'all'\nwhen = 'True'\nlane = 'in_process'\n")
    assert policy.examples == ()
    assert policy.decide(Facts(weight=80.0)).rule == "all"


def test_the_base_itself_is_as_before() -> None:
    base = load_policy("by-weight")
    assert isinstance(base, RulePolicy)
    assert [rule.origin for rule in base.rules] == [""] * len(base.rules)


def test_every_shipped_policy_can_be_extended() -> None:
    for name in shipped_names():
        base = load_policy(name)
        policy = parsed(f'schema = 1\nextends = "{name}"\n')
        assert isinstance(base, RulePolicy)
        assert [rule.when for rule in policy.rules] == [rule.when for rule in base.rules]
        assert policy.reads == base.reads


def test_a_rule_of_the_name_of_a_base_rule_is_refused() -> None:
    text = HEAD + "[[rule]]\nname = 'heavy work is queued'\nwhen = 'is_async'\nlane = 'queue'\n"
    assert refusal(text) == (
        "policy ours.toml, line 4, rule 1, name: by-weight has a rule 'heavy work is queued' too\n"
        "    name = 'heavy work is queued'\n"
        "           ^^^^^^^^^^^^^^^^^^^^^^\n"
        "give each rule its own, since decisions call it by its name"
    )


def test_a_misspelt_base_is_told_the_name_that_was_meant() -> None:
    assert refusal('schema = 1\nextends = "by_wieght.toml"\n') == (
        "policy ours.toml, line 2, extends: there is no shipped policy 'by_wieght.toml'\n"
        '    extends = "by_wieght.toml"\n'
        "              ^^^^^^^^^^^^^^^^\n"
        f"did you mean by-weight? (shipped are {SHIPPED})"
    )


@pytest.mark.parametrize("base", ["", "nonsense"])
def test_an_unknown_base_is_told_the_shipped_names(base: str) -> None:
    assert refusal(f'schema = 1\nextends = "{base}"\n') == (
        f"policy ours.toml, line 2, extends: there is no shipped policy {base!r}\n"
        f'    extends = "{base}"\n'
        f"              {'^' * (len(base) + 2)}\n"
        f"write the name of one; shipped are {SHIPPED}"
    )


@pytest.mark.parametrize("base", ["./by-weight.toml", "policies/by-weight", "theirs.toml", r"C:\by-weight"])
def test_only_a_shipped_policy_can_be_extended(base: str) -> None:
    assert refusal(f"schema = 1\nextends = '{base}'\n") == (
        f"policy ours.toml, line 2, extends: {base!r} is a path\n"
        f"    extends = '{base}'\n"
        f"              {'^' * (len(base) + 2)}\n"
        f"only a shipped policy can be extended, by its name; shipped are {SHIPPED}"
    )
