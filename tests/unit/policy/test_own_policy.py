"""A policy of somebody's own, given as it is: taken if it works, and else told what does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import Policy, load_policy

QUEUED = Decision(lane=Lane.QUEUE, reason="always", rule="always")


@dataclass(kw_only=True)
class Always:
    """A policy of somebody's own, that keeps what it was asked."""

    asked: list[Facts] = field(default_factory=list)

    def decide(self, facts: Facts, /) -> Decision:
        self.asked.append(facts)
        return QUEUED


def refusal(reference: object) -> str:
    with pytest.raises(PolicyError) as caught:
        load_policy(cast("Any", reference))
    return str(caught.value)


def test_a_policy_is_taken_as_it_is() -> None:
    policy = Always()
    assert load_policy(policy) is policy


def test_a_policy_of_somebodys_own_is_tried_on_known_and_on_unknown_readings() -> None:
    policy = Always()
    load_policy(policy)
    lags = {facts.loop.lag_ms for facts in policy.asked}
    assert None in lags
    assert len(lags) > 1


@pytest.mark.parametrize("reference", [5, None, b"by-weight", ["by-weight"]])
def test_another_object_is_told_what_is_missing(reference: object) -> None:
    assert refusal(reference) == (
        f"policy (object given): {reference!r} has no method decide(facts); "
        "give a shipped name, a path to a .toml file, module:object, or an object with that method"
    )


def test_a_class_is_told_to_be_called() -> None:
    message = refusal(Always)
    assert message.startswith(f"policy {Always.__module__}.Always: it is a class, and no policy")
    assert message.endswith("give an object of it: Always()")


class AnswersText(Always):
    def decide(self, facts: Facts, /) -> Any:
        return "queue"


class AnswersTextForALane(Always):
    def decide(self, facts: Facts, /) -> Decision:
        return Decision(lane=cast("Lane", "queue"), reason="r", rule="r")


class ForgetsTheUnknown(Always):
    def decide(self, facts: Facts, /) -> Decision:
        assert cast("int", facts.broker.waiting) < 5
        return QUEUED


class ForgetsTheUnknownOfTheHeavy(Always):
    def decide(self, facts: Facts, /) -> Decision:
        if facts.weight > 50 and cast("int", facts.broker.waiting) > 5:
            return QUEUED
        return QUEUED


class TakesNothing(Always):
    def decide(self) -> Decision:  # type: ignore[override]  # the mistake that is tried
        return QUEUED


class ReadsOneText(Always):
    reads = "weight"


class ReadsAMisspeltFact(Always):
    reads = frozenset({"wieght"})


class KnowsOtherLanes(Always):
    def possible_lanes(self, static: object) -> set[str]:
        return {"celery"}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            AnswersText(),
            ", decide: it answered 'queue'; return Decision(lane=Lane.QUEUE, reason='…', rule='…')",
        ),
        (
            AnswersTextForALane(),
            (
                ", decide: it answered Decision(lane='queue', reason='r', rule='r', revision=''); "
                "return Decision(lane=Lane.QUEUE, reason='…', rule='…')"
            ),
        ),
        (
            ForgetsTheUnknown(),
            (
                ", decide: it raised TypeError: '<' not supported between instances of 'NoneType' and 'int', "
                "for Facts(name='trial'); let it answer for all facts; a reading can be None"
            ),
        ),
        (
            ForgetsTheUnknownOfTheHeavy(),
            (
                ", decide: it raised TypeError: '>' not supported between instances of 'NoneType' and 'int', "
                "for Facts(name='trial', weight=1000.0, is_async=True); "
                "let it answer for all facts; a reading can be None"
            ),
        ),
        (
            TakesNothing(),
            (
                ", decide: it raised TypeError: TakesNothing.decide() takes 1 positional argument but 2 were given, "
                "for Facts(name='trial'); let it answer for all facts; a reading can be None"
            ),
        ),
        (
            ReadsOneText(),
            ", reads: it is 'weight'; give several names, as in reads = frozenset({'weight'})",
        ),
        (ReadsAMisspeltFact(), ", reads: there is no fact 'wieght'; did you mean weight?"),
        (
            KnowsOtherLanes(),
            (
                ", possible_lanes: it gave no set of lanes (ValueError: 'celery' is not a valid Lane); "
                "return a frozenset of Lane, or leave the method out"
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_policy_that_does_not_work_is_refused_before_a_call_meets_it(policy: Policy, message: str) -> None:
    assert refusal(policy) == f"policy {__name__}.{type(policy).__name__}{message}"


# -- attributes that fail -----------------------------------------------------------------------------------


def failing(attribute: str, error: Exception) -> Policy:
    """A policy whose attribute is a property that raises."""

    def fail(self: object) -> Any:
        raise error

    policy: Policy = type("Failing", (Always,), {attribute: property(fail)})()
    return policy


@pytest.mark.parametrize("attribute", ["reads", "revision", "default_lane", "possible_lanes", "decide"])
@pytest.mark.parametrize("error", [ZeroDivisionError("no threads"), AttributeError("no threads")], ids=repr)
def test_a_property_that_raises_is_told_by_its_name(attribute: str, error: Exception) -> None:
    assert refusal(failing(attribute, error)) == (
        f"policy {__name__}.Failing, {attribute}: it raised {type(error).__name__}: no threads; "
        "give a value that is ready, or leave it out"
    )


def test_a_source_that_cannot_be_read_does_not_hide_what_is_wrong() -> None:
    policy = failing("source", ZeroDivisionError("no threads"))
    assert load_policy(policy) is policy


class Shy:
    def __repr__(self) -> str:
        raise ZeroDivisionError("no threads")


class Ambiguous:
    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]  # as an array of numbers


class Breaking:
    def __iter__(self) -> Any:
        raise ZeroDivisionError("no threads")

    def __repr__(self) -> str:
        return "Breaking()"


LANES = "give Lane.IN_PROCESS or Lane.QUEUE, or leave it out"
NAMES = "as in reads = frozenset({'weight'})"


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("reads", [["weight"]], f"reads: there is no fact ['weight']; name facts, {NAMES}"),
        ("reads", [5], f"reads: there is no fact 5; name facts, {NAMES}"),
        ("reads", [Shy()], f"reads: there is no fact a Shy; name facts, {NAMES}"),
        ("reads", 5, f"reads: it is 5; give several names, {NAMES}"),
        ("reads", Breaking(), f"reads: it is Breaking(); give several names, {NAMES}"),
        ("default_lane", Shy(), f"default_lane: it is a Shy; {LANES}"),
        ("default_lane", ["queue"], f"default_lane: it is ['queue']; {LANES}"),
        ("default_lane", Ambiguous(), "default_lane: it is "),
        ("revision", Shy(), "revision: it is a Shy; give 1 to 100 printable ASCII characters"),
        ("revision", Ambiguous(), "revision: it is "),
        ("possible_lanes", 5, "possible_lanes: it gave no set of lanes (TypeError: 'int' object is not callable)"),
        ("decide", Shy(), "a Shy"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_an_attribute_is_told_by_its_name(attribute: str, value: object, message: str) -> None:
    policy = type("Wrong", (Always,), {attribute: value})()
    if attribute == "decide":
        policy = Always()
        policy.decide = lambda facts: value  # type: ignore[method-assign, assignment, return-value]  # the mistake
    assert message in refusal(policy)
