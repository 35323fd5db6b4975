"""What a policy file means when it is right."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from weighbridge.decision import Decision, Facts, InProcessReading, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import RulePolicy, explain, parse_policy, read_policy

BY_NIGHT = """
schema = 1
description = "Reports wait; the rest is quick."

[[rule]]
name = "reports are queued"
when = '''
    weight >= 50          # heavy
    or queue == "reports"
'''
lane = "queue"

[[rule]]
name = "not more here while it is busy"
when = "in_process.waiting >= 8"
lane = "queue"
reason = "this process is busy"

[otherwise]
lane = "in_process"

[[example]]
facts = { weight = 80 }
lane = "queue"

[[example]]
facts = { in_process = { waiting = 8 }, tags = ["a"], name = "x", is_async = true, payload_bytes = 5 }
lane = "queue"

[[example]]
facts.in_process.waiting = 7
facts.loop.lag_ms = 3.5
lane = "in_process"
"""


def policy(text: str) -> RulePolicy:
    return parse_policy(text, name="by-night", source="by-night.toml")


def test_the_first_rule_that_matches_decides() -> None:
    decision = policy(BY_NIGHT).decide(Facts(weight=50.0, in_process=InProcessReading(waiting=8)))
    assert decision.rule == "reports are queued"
    assert decision.lane is Lane.QUEUE


def test_a_call_that_no_rule_matches_takes_the_last_word() -> None:
    read = policy(BY_NIGHT)
    assert read.decide(Facts(weight=49.0)) == Decision(
        lane=Lane.IN_PROCESS,
        reason="policy by-night, otherwise: no rule matches",
        rule="otherwise",
        revision=read.revision,
    )


def test_the_reason_names_the_policy_the_rule_and_its_expression_on_one_line() -> None:
    decision = policy(BY_NIGHT).decide(Facts(weight=50.0))
    assert decision.reason == ("policy by-night, rule 'reports are queued': weight >= 50 or queue == \"reports\"")


def test_a_rule_may_give_a_reason_of_its_own() -> None:
    decision = policy(BY_NIGHT).decide(Facts(in_process=InProcessReading(waiting=9)))
    assert decision.reason == "policy by-night, rule 'not more here while it is busy': this process is busy"


def test_the_last_word_may_give_a_reason_of_its_own() -> None:
    always = policy('schema = 1\n[otherwise]\nlane = "queue"\nreason = "as agreed"\n')
    assert always.decide(Facts()).reason == "policy by-night, otherwise: as agreed"


def test_a_policy_says_what_it_reads() -> None:
    assert policy(BY_NIGHT).reads == {"weight", "queue", "in_process.waiting"}


def test_a_policy_keeps_what_the_file_says() -> None:
    read = policy(BY_NIGHT)
    assert read.description == "Reports wait; the rest is quick."
    assert [rule.name for rule in read.rules] == ["reports are queued", "not more here while it is busy"]
    assert [rule.lane for rule in read.rules] == [Lane.QUEUE, Lane.QUEUE]
    assert read.otherwise.lane is Lane.IN_PROCESS
    assert [example.lane for example in read.examples] == [Lane.QUEUE, Lane.QUEUE, Lane.IN_PROCESS]
    assert read.examples[1].facts == Facts(
        name="x",
        payload_bytes=5,
        tags=("a",),
        is_async=True,
        in_process=InProcessReading(waiting=8),
    )


@pytest.mark.parametrize(
    ("static", "lanes"),
    [
        ({}, {Lane.QUEUE, Lane.IN_PROCESS}),
        ({"weight": 80.0}, {Lane.QUEUE}),
        ({"weight": 1.0, "queue": "default"}, {Lane.QUEUE, Lane.IN_PROCESS}),
        ({"weight": 1.0, "queue": "default", "in_process.waiting": 0}, {Lane.IN_PROCESS}),
    ],
)
def test_a_policy_knows_the_lanes_that_are_left(static: dict[str, object], lanes: set[Lane]) -> None:
    assert policy(BY_NIGHT).possible_lanes(static) == lanes


def test_a_base_rule_behind_one_that_always_matches_is_not_counted() -> None:
    shadowed = policy("schema = 1\nextends = 'by-weight'\n[[rule]]\nname = 'all'\nwhen = 'True'\nlane = 'in_process'\n")
    assert [rule.name for rule in shadowed.rules] == ["all", "heavy work is queued"]
    assert shadowed.possible_lanes({}) == {Lane.IN_PROCESS}


def test_a_rule_that_leaves_nothing_to_one_after_it_is_refused() -> None:
    with pytest.raises(PolicyError) as refused:
        policy(
            "schema = 1\n"
            "[[rule]]\nname = 'heavy'\nwhen = 'weight >= 50'\nlane = 'queue'\n"
            "[[rule]]\nname = 'heavier'\nwhen = 'weight >= 80 and is_async'\nlane = 'in_process'\n"
            "[otherwise]\nlane = 'in_process'\n"
        )
    assert str(refused.value).endswith(
        "line 8, rule 'heavier', when: it never decides: rule 'heavy' matches first whenever it would\n"
        "    when = 'weight >= 80 and is_async'\n"
        "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "put it above, or correct a limit, or delete it"
    )


def test_the_same_decision_object_is_given_each_time() -> None:
    read = policy(BY_NIGHT)
    assert read.decide(Facts(weight=80.0)) is read.decide(Facts(weight=90.0))


def test_a_file_gives_the_policy_its_name(tmp_path: Path) -> None:
    path = tmp_path / "by-night.toml"
    path.write_text(BY_NIGHT, encoding="utf-8")
    read = read_policy(path)
    assert (read.name, read.source) == ("by-night", str(path))


def test_a_file_may_start_with_a_mark_and_have_the_line_ends_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "by-night.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BY_NIGHT.replace("\n", "\r\n").encode())
    assert read_policy(path).decide(Facts(weight=80.0)).rule == "reports are queued"


@pytest.mark.parametrize("name", ["default_lane", "options", "on_unavailable", "durable", "worker"])
def test_a_rule_cannot_have_a_name_that_decisions_use_otherwise(name: str) -> None:
    with pytest.raises(PolicyError, match=r"the name means what decides without a rule\n"):
        policy(
            f"schema = 1\n[[rule]]\nname = '{name}'\nwhen = 'weight > 5'\nlane = 'queue'\n[otherwise]\nlane = 'queue'\n"
        )


def test_a_byte_that_is_not_utf_8_is_told_behind_a_mark_of_windows_too(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_bytes(b"\xef\xbb\xbfschema = 1\n# \xc3\xa9\xc3\xa9\xff\n")
    with pytest.raises(PolicyError, match=r"line 2: it is not UTF-8 \(the byte 0xff\)"):
        read_policy(path)


def test_a_number_that_no_machine_holds_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"line 1, schema: it is 9999999.*, which cannot be read"):
        policy(f"schema = {'9' * 30}\n[otherwise]\nlane = 'queue'\n")


def test_an_explanation_can_be_copied_and_answered_with() -> None:
    told = explain(policy(BY_NIGHT), Facts(weight=80.0))
    assert pickle.loads(pickle.dumps(told)) == told
    assert dataclasses.asdict(told)["rule"] == told.rule
