"""Asking a policy, whoever wrote it: for a decision, for what it reads, for the lanes that it may choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import Policy, ask, load_policy, possible_lanes_of, reads_of

HERE = Decision(lane=Lane.IN_PROCESS, reason="always", rule="always")


class Bare:
    def decide(self, facts: Facts, /) -> Decision:
        return HERE


class Telling(Bare):
    reads = frozenset({"weight", "loop"})

    def possible_lanes(self, static: Mapping[str, object]) -> frozenset[Lane]:
        return frozenset({Lane.QUEUE if "weight" in static else Lane.IN_PROCESS})


class Failing(Bare):
    def decide(self, facts: Facts, /) -> Decision:
        raise KeyError(facts.name)


class Silent(Bare):
    def decide(self, facts: Facts, /) -> Any:
        return None


def test_whatever_decides_is_a_policy() -> None:
    assert isinstance(Bare(), Policy)
    assert isinstance(load_policy("by-weight"), Policy)
    assert not isinstance(object(), Policy)


def test_a_policy_is_asked() -> None:
    assert ask(Bare(), Facts()) is HERE


def test_a_policy_that_raises_is_named_with_the_facts() -> None:
    with pytest.raises(PolicyError) as caught:
        ask(Failing(), Facts(name="app.mail"))
    assert str(caught.value) == (
        f"policy {__name__}.Failing, decide: it raised KeyError: 'app.mail', for Facts(name='app.mail'); "
        "let it answer for all facts; a reading can be None"
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_policy_without_an_answer_is_named() -> None:
    with pytest.raises(PolicyError, match=r"Silent, decide: it answered None; return Decision\(lane="):
        ask(Silent(), Facts())


def test_a_policy_that_does_not_say_what_it_reads_may_read_all() -> None:
    assert reads_of(Bare()) is None


def test_a_policy_may_say_what_it_reads_by_fact_or_by_group() -> None:
    assert reads_of(Telling()) == frozenset({"weight", "loop"})


def test_a_policy_of_rules_says_what_it_reads() -> None:
    assert reads_of(load_policy("by-weight")) == frozenset({"weight", "is_async"})
    assert reads_of(load_policy("all-queued")) == frozenset()


def test_a_policy_that_does_not_say_its_lanes_may_choose_both() -> None:
    assert possible_lanes_of(Bare(), {}) == set(Lane)


def test_a_policy_may_say_its_lanes() -> None:
    assert possible_lanes_of(Telling(), {}) == {Lane.IN_PROCESS}
    assert possible_lanes_of(Telling(), {"weight": 5.0}) == {Lane.QUEUE}
