"""The outlook of each task by a policy's rules: which of them may decide about its calls, and by what it depends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from weighbridge.appointed import static_facts_of
from weighbridge.constraint import constraint_of
from weighbridge.decision import Decision, Lane
from weighbridge.outlook import lanes_of
from weighbridge.policy import FACTS, Policy, reads_of, rules_of
from weighbridge.policy.rule import deciding
from weighbridge.task import TaskSpec

_WOULD = {Lane.IN_PROCESS: "keep it in process", Lane.QUEUE: "queue it"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutlook:
    """One task. ``decided_by`` are the rules that may decide about its calls, ``otherwise`` among them.

    It is the constraint's name if there is one, and nothing for a policy that is code. ``depends_on`` are the facts by
    which it is one lane or the other; ``overruled`` says what the policy would do if there were no constraint.
    """

    name: str
    lanes: tuple[Lane, ...]
    decided_by: tuple[str, ...]
    depends_on: tuple[str, ...] = ()
    constraint: str | None = None
    constraint_reason: str | None = None
    overruled: str | None = None


def outlook_of(spec: TaskSpec, policy: Policy) -> TaskOutlook:
    """What can be said about a task's calls before there is one.

    :raises DeclarationError: if the task cannot work as declared.
    :raises PolicyError: if the policy's ``possible_lanes`` fails.
    """
    static = static_facts_of(spec)
    decisions, open_facts = possible_decisions(policy, static)
    constraint = constraint_of(spec)
    if constraint is not None:
        others = [deciding(each.rule) for each in decisions if each.lane is not constraint.lane]
        verb = "would" if len(others) == len(decisions) else "could"
        lane = next(lane for lane in Lane if lane is not constraint.lane)
        return TaskOutlook(
            name=spec.name,
            lanes=(constraint.lane,),
            decided_by=(constraint.decision.rule,),
            constraint=constraint.decision.rule,
            constraint_reason=constraint.reason,
            overruled=f"{' or '.join(others)} {verb} {_WOULD[lane]}" if others else None,
        )
    lanes = tuple(sorted(lanes_of(spec, policy)))
    return TaskOutlook(
        name=spec.name,
        lanes=lanes,
        decided_by=tuple(each.rule for each in decisions),
        depends_on=open_facts if len(lanes) > 1 else (),
    )


def idle_rules(policy: Policy, outlooks: Iterable[TaskOutlook]) -> Iterator[str]:
    """The rules of a policy that decide about none of these tasks."""
    rules = rules_of(policy)
    if rules is not None:
        deciders = {rule for each in outlooks if each.constraint is None for rule in each.decided_by}
        yield from (rule.name for rule in rules.rules if rule.name not in deciders)


def possible_decisions(policy: Policy, static: Mapping[str, object]) -> tuple[list[Decision], tuple[str, ...]]:
    """The decisions that are possible when only some facts are known, and the other facts that choose the lane.

    Of a policy that is code no decision is known; the facts are those that it says it reads.
    """
    rules = rules_of(policy)
    if rules is None:
        reads = reads_of(policy)  # may name a whole group of readings, and may be unknown
        return [], tuple(sorted(name for name in reads or () if name not in static))
    possible = list(rules.possible(static))
    lanes, facts = set[Lane](), set[str]()
    for decision, depends_on in reversed(possible):
        lanes.add(decision.lane)
        if len(lanes) > 1:  # else it is the same lane, whichever of the rules from here on decides
            facts |= depends_on
    return [decision for decision, _ in possible], tuple(name for name in FACTS if name in facts)
