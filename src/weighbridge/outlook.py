"""The outlook of a task: the lanes that its calls could take, known before any call is made."""

from __future__ import annotations

from collections.abc import Iterator

from weighbridge.appointed import static_facts_of
from weighbridge.constraint import constraint_of
from weighbridge.decision import Lane
from weighbridge.errors import BrokerNotConfiguredError
from weighbridge.policy import Policy, possible_lanes_of
from weighbridge.task import Registry, TaskSpec


def lanes_of(spec: TaskSpec, policy: Policy) -> frozenset[Lane]:
    """The lanes that a task's calls may take: by its constraint, or by what ``policy`` can answer for it.

    :raises DeclarationError: if the task's declaration cannot be obeyed.
    """
    constraint = constraint_of(spec)
    if constraint is not None:
        return frozenset({constraint.lane})
    return possible_lanes_of(policy, static_facts_of(spec))


def crossing_tasks(registry: Registry) -> Iterator[TaskSpec]:
    """Tasks that can be queued, by this policy or by tomorrow's: a worker knows them all today.

    :raises DeclarationError: if a task's declaration cannot be obeyed.
    """
    for spec in registry:
        constraint = constraint_of(spec)
        if constraint is None or constraint.lane is Lane.QUEUE:
            yield spec


def check_tasks(registry: Registry, policy: Policy, *, has_broker: bool) -> None:
    """Look at every declared task once more, now that all names are defined, and miss no broker.

    :raises DeclarationError: if a task's declaration cannot be obeyed.
    :raises BrokerNotConfiguredError: if a task could be queued, and there is no broker.
    """
    for spec in registry:
        if Lane.QUEUE in lanes_of(spec, policy) and not has_broker:
            raise BrokerNotConfiguredError(
                problem=f"task {spec.name!r} could be queued, and no broker is configured",
                remedy="to develop, run `weighbridge dev MODULE:app`; to test, set WEIGHBRIDGE_POLICY=all-in-process "
                "(a durable task needs a broker all the same); in production, set WEIGHBRIDGE_BROKER_URL "
                "(redis://…, amqp://…)",
            )
