from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from weighbridge import Decision, Facts, Lane
from weighbridge.arguments import ArgumentCodec
from weighbridge.crossing import call_is_async
from weighbridge.decision import Origin
from weighbridge.errors import BrokerNotConfiguredError, DeclarationError
from weighbridge.outlook import check_tasks, crossing_tasks, lanes_of
from weighbridge.policy import FACTS, load_policy
from weighbridge.task import Registry, TaskSpec

BOTH = frozenset(Lane)
HERE = frozenset({Lane.IN_PROCESS})
THERE = frozenset({Lane.QUEUE})


def light(number: int = 0) -> None: ...


async def light_async(number: int = 0) -> None: ...


def uses_the_undefined(thing: NotDefinedAnywhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # the point


def declared(func: Callable[..., Any] = light, **options: Any) -> TaskSpec:
    name = options.pop("name", func.__name__)
    codec = ArgumentCodec(func, task=name)
    return TaskSpec(name=name, func=func, is_async=call_is_async(func), codec=codec, **options)


@pytest.mark.parametrize(
    ("spec", "policy", "lanes"),
    [
        (declared(weight=49.9), "by-weight", HERE),
        (declared(weight=50), "by-weight", THERE),
        (declared(light_async, weight=5), "by-weight", THERE),
        (declared(weight=lambda number: number), "by-weight", BOTH),
        (declared(weight=500), "all-in-process", HERE),
        (declared(weight=0), "all-queued", THERE),
        (declared(weight=500, shares_memory=True), "all-queued", HERE),
        (declared(durable=True), "all-in-process", THERE),
    ],
)
def test_the_lanes_of_a_task_are_known_before_any_call(spec: TaskSpec, policy: str, lanes: frozenset[Lane]) -> None:
    assert lanes_of(spec, load_policy(policy)) == lanes


def test_a_worker_knows_what_another_policy_could_queue_tomorrow() -> None:
    registry = Registry()
    for spec in (declared(weight=0, name="free"), declared(light_async, shares_memory=True, name="stays")):
        registry.add(spec)

    assert [spec.name for spec in crossing_tasks(registry)] == ["free"]


def test_a_service_that_could_queue_a_task_needs_a_broker() -> None:
    registry = Registry()
    registry.add(declared(weight=50, name="heavy"))
    policy = load_policy("by-weight")

    check_tasks(registry, policy, has_broker=True)
    with pytest.raises(BrokerNotConfiguredError, match="'heavy' could be queued"):
        check_tasks(registry, policy, has_broker=False)


def test_a_durable_task_whose_annotation_stays_undefined_is_refused_at_start() -> None:
    registry = Registry()
    registry.add(declared(uses_the_undefined, durable=True, name="charge"))

    with pytest.raises(DeclarationError, match=r"'charge' is durable, .*NotDefinedAnywhere"):
        check_tasks(registry, load_policy("by-weight"), has_broker=True)


class Asked:
    """A policy that notes which facts are known of a task."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def decide(self, facts: Facts, /) -> Decision:
        return Decision(Lane.QUEUE, reason="always", rule="always")

    def possible_lanes(self, static: Mapping[str, object]) -> frozenset[Lane]:
        self.known.update(static)
        return BOTH


def test_of_a_task_the_facts_are_known_that_come_from_its_declaration_and_a_weight_that_is_a_number() -> None:
    policy = Asked()
    lanes_of(declared(weight=lambda number=0: number), policy)
    assert policy.known == {fact.name for fact in FACTS.values() if fact.origin is Origin.DECLARATION}
    lanes_of(declared(weight=50), policy)
    assert "weight" in policy.known
