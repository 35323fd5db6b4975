from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pytest

from weighbridge import Decision, Facts, Lane
from weighbridge.appointed import MOST_KEPT, POLICY_FAILED, Appointed, PolicyFailures
from weighbridge.arguments import ArgumentCodec
from weighbridge.decision import InProcessReading
from weighbridge.errors import PolicyError
from weighbridge.policy import Policy, RulePolicy, explain, load_policy, parse_policy, revision_of, rules_of
from weighbridge.task import TaskSpec

LOADED = """
schema = 1

[[rule]]
name = "reports"
when = "'report' in tags"
lane = "queue"

[[rule]]
name = "heavy"
when = "weight >= 50 or (weight >= 20 and in_process.waiting >= 8)"
lane = "queue"

[[rule]]
name = "busy"
when = "in_process.waiting >= 100 and weight > 0"
lane = "queue"

[otherwise]
lane = "in_process"
"""


def report(rows: list[int]) -> None: ...


def spec_of(**options: Any) -> TaskSpec:
    codec = ArgumentCodec(report, task="app.report")
    return TaskSpec(name="app.report", func=report, is_async=False, codec=codec, **options)


def appointed(policy: Policy | None = None, *, failures: PolicyFailures | None = None) -> Appointed:
    policy = policy or parse_policy(LOADED, name="loaded", source="loaded.toml")
    return Appointed(policy, failures=failures or PolicyFailures())


# -- static decisions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"tags": ("report",), "weight": 20.0}, "reports"),
        ({"weight": 50.0}, "heavy"),
        ({"weight": 0.0}, "otherwise"),
        ({"weight": 20.0}, None),
        ({"weight": 1.0}, None),
        ({"weight": len}, None),
    ],
)
def test_a_decision_is_static_where_nothing_but_the_declaration_is_looked_at(
    options: dict[str, Any], rule: str | None
) -> None:
    spec = spec_of(**options)
    weight = 0.0 if callable(spec.weight) else spec.weight

    decision = appointed().static(spec, weight)

    assert (None if decision is None else decision.rule) == rule


def test_a_weight_of_the_call_has_a_static_decision_of_its_own() -> None:
    spec, policy = spec_of(weight=1.0), appointed()

    rules = [decision.rule if (decision := policy.static(spec, weight)) else None for weight in (1.0, 80.0, 1.0, 0.0)]

    assert rules == [None, "heavy", None, "otherwise"]


def test_a_static_decision_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    policy = load_policy("by-weight")
    assert isinstance(policy, RulePolicy)
    original = RulePolicy.decided

    def decided(self: RulePolicy, static: Mapping[str, object]) -> Decision | None:
        asked.append(static)
        return original(self, static)

    monkeypatch.setattr(RulePolicy, "decided", decided)
    spec, in_office = spec_of(weight=80.0), appointed(policy)

    decisions = [in_office.static(spec, 80.0) for _ in range(3)]

    assert len(asked) == 1
    assert decisions[0] is decisions[1] is decisions[2]


def test_weights_that_are_made_up_for_each_call_do_not_fill_the_memory() -> None:
    spec, policy = spec_of(weight=1.0), appointed(load_policy("by-weight"))

    for weight in range(MOST_KEPT * 2 + 10):
        assert policy.static(spec, float(weight)) is not None

    assert len(policy._static) <= MOST_KEPT


def test_a_policy_in_code_has_no_static_decisions() -> None:
    assert appointed(Fails()).static(spec_of(), 0.0) is None


# -- a policy in code that fails ----------------------------------------------------------------------------


class Fails:
    default_lane = Lane.QUEUE

    def decide(self, facts: Facts, /) -> Decision:
        raise ZeroDivisionError("no threads")


class ForgetsToReturn:
    default_lane = Lane.IN_PROCESS

    def decide(self, facts: Facts, /) -> Decision: ...  # type: ignore[empty-body]  # the mistake


class FailsWithoutADefault:
    def decide(self, facts: Facts, /) -> Decision:
        raise ZeroDivisionError("no threads")


@pytest.mark.parametrize(("policy", "lane"), [(Fails(), Lane.QUEUE), (ForgetsToReturn(), Lane.IN_PROCESS)])
def test_a_policy_that_fails_falls_to_its_default_lane(policy: Policy, lane: Lane) -> None:
    decision = appointed(policy).decide(Facts(name="app.report"))

    assert (decision.lane, decision.rule, decision.revision) == (lane, "default_lane", revision_of(policy))
    assert decision.reason == f"policy {__name__}.{type(policy).__name__} failed, so its default lane holds"


def test_each_failure_is_counted_and_the_first_of_its_kind_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    failures = PolicyFailures()
    policy = appointed(Fails(), failures=failures)

    for name in ("app.report", "app.report", "app.mail", "app.report"):
        policy.decide(Facts(name=name))

    told = [record for record in caplog.records if record.__dict__.get("event") == POLICY_FAILED]
    assert failures.by_task() == {"app.report": 3, "app.mail": 1}
    assert [(record.levelno, record.__dict__["task"], record.__dict__["lane"]) for record in told] == [
        (logging.ERROR, "app.report", "queue"),
        (logging.ERROR, "app.mail", "queue"),
    ]
    assert told[0].exc_info is not None
    assert isinstance(told[0].exc_info[1], ZeroDivisionError)


def test_a_policy_without_a_default_lane_lets_its_failure_out() -> None:
    with pytest.raises(PolicyError, match="it raised ZeroDivisionError: no threads"):
        appointed(FailsWithoutADefault()).decide(Facts(name="app.report"))


def test_a_default_lane_that_is_none_is_refused_when_the_policy_is_loaded() -> None:
    class Celery:
        default_lane = "celery"

        def decide(self, facts: Facts, /) -> Decision:
            return Decision(Lane.QUEUE, "r", "r")

    with pytest.raises(PolicyError, match=r"default_lane: it is 'celery'; give Lane.IN_PROCESS or Lane.QUEUE"):
        load_policy(Celery())


# -- the revision -------------------------------------------------------------------------------------------


@dataclass
class Always:
    answer: Decision
    revision: str = "v7"

    def decide(self, facts: Facts, /) -> Decision:
        return self.answer


def test_a_decision_is_stamped_with_the_revision_of_its_policy() -> None:
    made = Decision(Lane.QUEUE, "always", "always")

    decision = appointed(Always(made)).decide(Facts())

    assert (decision, decision.revision, made.revision) == (made, "v7", "")


@pytest.mark.parametrize("revision", ["", 7, "one\ntwo", " v7", "v7 ", "ö", "x" * 101])
def test_a_revision_that_cannot_stand_in_a_log_is_refused(revision: Any) -> None:
    with pytest.raises(PolicyError, match=r"revision: it is .*printable ASCII"):
        load_policy(Always(Decision(Lane.QUEUE, "r", "r"), revision=revision))


def test_a_policy_in_code_without_a_revision_has_that_of_its_code() -> None:
    def policy(threshold: int) -> Policy:
        class Policy:
            if threshold == 1:

                def decide(self, facts: Facts, /) -> Decision:
                    return Decision(Lane.QUEUE if facts.weight >= 1 else Lane.IN_PROCESS, "r", "r")
            else:

                def decide(self, facts: Facts, /) -> Decision:
                    return Decision(Lane.QUEUE if facts.weight >= 2 else Lane.IN_PROCESS, "r", "r")

        return Policy()

    assert revision_of(policy(1)) == revision_of(policy(1))
    assert revision_of(policy(1)) != revision_of(policy(2))


SCRIPT = """
from weighbridge.policy import revision_of
class Tagged:
    def decide(self, facts, /):
        return facts.name in {"alpha", "beta", "gamma", "delta"}
print(revision_of(Tagged()))
"""


def test_the_revision_is_the_same_in_each_process() -> None:
    def run(seed: str) -> str:
        command, environment = [sys.executable, "-c", SCRIPT], {"PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert run("1") == run("2") == run("3")


def test_readings_change_nothing_for_a_static_decision() -> None:
    policy = appointed()
    spec = spec_of(tags=("report",))
    static = policy.static(spec, 0.0)

    decided = policy.decide(Facts(name="app.report", tags=("report",), in_process=InProcessReading(waiting=500)))

    assert decided is static


def test_to_explain_is_no_failure_of_a_call(caplog: pytest.LogCaptureFixture) -> None:
    failures = PolicyFailures()

    told = appointed(Fails(), failures=failures).explain(Facts(name="app.report"))

    assert (told.lane, told.rule) == (Lane.QUEUE, "default_lane")
    assert (failures.by_task(), caplog.records) == ({}, [])


class Tapped(RulePolicy):
    """Rules of somebody's own class, which decides otherwise than they do."""

    def decide(self, facts: Facts, /) -> Decision:
        return Decision(Lane.IN_PROCESS, reason="mine", rule="mine")


class Named(RulePolicy):
    """Rules of somebody's own class, which decide."""


def of_class(kind: type[RulePolicy]) -> RulePolicy:
    base = load_policy("all-queued")
    return kind(**{each.name: getattr(base, each.name) for each in fields(RulePolicy)})


def test_rules_whose_class_decides_otherwise_are_obeyed_as_a_policy_in_code() -> None:
    policy = appointed(load_policy(of_class(Tapped)))
    spec, facts = spec_of(weight=1.0), Facts(name="app.report")

    assert (policy.decide(facts).rule, policy.explain(facts).rule) == ("mine", "mine")
    assert policy.static(spec, 1.0) is None
    explanation = explain(of_class(Tapped), facts)
    assert (explanation.rule, explanation.tried, explanation.changes) == ("mine", (), ())


def test_rules_of_somebodys_own_class_that_decide_are_rules() -> None:
    policy = appointed(load_policy(of_class(Named)))

    decision = policy.static(spec_of(weight=1.0), 1.0)

    assert decision is not None
    assert (decision.lane, rules_of(policy.policy)) == (Lane.QUEUE, policy.policy)
