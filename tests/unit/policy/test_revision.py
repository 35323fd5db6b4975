"""The revision of a policy: which content was read, on the policy and on each of its decisions."""

from __future__ import annotations

import hashlib
from pathlib import Path

from weighbridge.decision import Facts
from weighbridge.policy import RulePolicy, load_policy, parse_policy, read_policy

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
