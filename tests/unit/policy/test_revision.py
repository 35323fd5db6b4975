"""The revision of a policy: which content was read, on the policy and on each of its decisions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from weighbridge import Dispatcher, task
from weighbridge.decision import Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import Expression, Rule, RulePolicy, load_policy, parse_policy, read_policy
from weighbridge.policy.rule import last_word

TEXT = """
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"
"""
EXTENDED = 'schema = 1\nextends = "by-weight"\n'


def parsed(text: str, name: str = "ours") -> RulePolicy:
    return parse_policy(text, name=name, source=f"{name}.toml")


def test_the_revision_is_a_hash_of_the_text() -> None:
    assert parsed(TEXT).revision == hashlib.sha256(TEXT.encode()).hexdigest()[:12]


def test_a_file_of_another_name_has_the_same_revision(tmp_path: Path) -> None:
    path = tmp_path / "theirs.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert read_policy(path).revision == parsed(TEXT).revision


def test_any_change_of_the_text_changes_the_revision() -> None:
    assert parsed(TEXT + "# checked\n").revision != parsed(TEXT).revision


def test_the_revision_of_the_base_counts_too() -> None:
    base = load_policy("by-weight")
    assert isinstance(base, RulePolicy)
    assert parsed(EXTENDED).revision == hashlib.sha256((EXTENDED + base.revision).encode()).hexdigest()[:12]


def test_every_decision_carries_the_revision() -> None:
    policy = parsed(TEXT)
    assert policy.decide(Facts(weight=80.0)).revision == policy.revision
    assert policy.decide(Facts(weight=1.0)).revision == policy.revision


def test_decisions_of_the_base_carry_the_revision_of_the_file() -> None:
    policy = parsed(EXTENDED)
    assert policy.decide(Facts(weight=80.0)).revision == policy.revision
    assert policy.decide(Facts(weight=1.0)).revision == policy.revision


# -- a policy of rules that was made by hand ----------------------------------------------------------------


def by_hand(when: str = "weight >= 50", *, lane: Lane = Lane.QUEUE, revision: str = "") -> RulePolicy:
    rule = Rule.of(policy="ours", name="heavy", when=Expression.parse(when), lane=lane)
    otherwise = last_word(policy="ours", lane=Lane.IN_PROCESS)
    return RulePolicy(name="ours", source="ours", rules=(rule,), otherwise=otherwise, revision=revision)


def loaded(policy: RulePolicy) -> RulePolicy:
    found = load_policy(policy)
    assert isinstance(found, RulePolicy)
    return found


def test_a_policy_that_was_made_by_hand_is_given_a_revision_by_its_rules() -> None:
    revision = loaded(by_hand()).revision
    assert len(revision) == 12
    assert loaded(by_hand()).revision == revision
    assert loaded(by_hand("weight >= 51")).revision != revision
    assert loaded(by_hand(lane=Lane.IN_PROCESS)).revision != revision


@pytest.mark.parametrize("revision", ["", "v7"])
def test_its_decisions_carry_it(revision: str) -> None:
    policy = loaded(by_hand(revision=revision))
    assert policy.decide(Facts(weight=80.0)).revision == policy.revision
    assert policy.decide(Facts(weight=1.0)).revision == policy.revision
    assert policy.revision == (revision or policy.revision)


def test_one_that_has_a_revision_everywhere_is_taken_as_it_is() -> None:
    for policy in (parsed(TEXT), loaded(by_hand())):
        assert load_policy(policy) is policy


def test_a_revision_that_cannot_stand_in_a_log_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"policy ours, revision: it is 'ö'; give 1 to 100 printable ASCII"):
        load_policy(by_hand(revision="ö"))


def test_a_dispatcher_can_be_given_one_at_first_and_later() -> None:
    @task(weight=80)
    def heavy() -> None: ...

    dispatcher = Dispatcher(broker_url="redis://127.0.0.1:1/0", policy=by_hand())
    first = dispatcher.explain(heavy)
    dispatcher.policy = by_hand("weight >= 60")
    second = dispatcher.explain(heavy)
    assert first.lane is second.lane is Lane.QUEUE
    assert len({first.revision, second.revision, ""}) == 3
