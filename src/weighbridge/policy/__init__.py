"""Policies: what chooses a lane from facts, the rules it is written in, and where it is found."""

from __future__ import annotations

from weighbridge.policy.catalogue import file_of, load_policy
from weighbridge.policy.example import facts_from
from weighbridge.policy.explanation import Explanation, TriedRule, explain
from weighbridge.policy.expression import Expression, Unknown
from weighbridge.policy.fact import FACTS
from weighbridge.policy.file import content_of, parse_policy, policy_from, read_policy
from weighbridge.policy.protocol import (
    Policy,
    ask,
    default_lane_of,
    possible_lanes_of,
    reads_of,
    source_of,
)
from weighbridge.policy.render import render
from weighbridge.policy.revision import content_hash, revision_of
from weighbridge.policy.rule import OTHERWISE, Example, Rule, RulePolicy, rules_of
from weighbridge.policy.schema import policy_schema
from weighbridge.policy.shipped import shipped_names
from weighbridge.policy.table import PolicyTable

__all__ = [
    "FACTS",
    "OTHERWISE",
    "Example",
    "Explanation",
    "Expression",
    "Policy",
    "PolicyTable",
    "Rule",
    "RulePolicy",
    "TriedRule",
    "Unknown",
    "ask",
    "content_hash",
    "content_of",
    "default_lane_of",
    "explain",
    "facts_from",
    "file_of",
    "load_policy",
    "parse_policy",
    "policy_from",
    "policy_schema",
    "possible_lanes_of",
    "read_policy",
    "reads_of",
    "render",
    "revision_of",
    "rules_of",
    "shipped_names",
    "source_of",
]
