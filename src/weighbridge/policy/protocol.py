"""What a policy is: anything that decides from facts; and asking one, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Final, Protocol, runtime_checkable

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy.fact import FACTS, GROUPS, remedy_for

EVERY_LANE: Final = frozenset(Lane)
_NOTHING_KNOWN: Final = Facts()


@runtime_checkable
class Policy(Protocol):
    """Chooses the lane of a call that no constraint binds.

    Pure and total: the same facts give the same decision, on any thread, with no I/O, clock, randomness or
    exception. Two more attributes are optional:

    * ``reads: frozenset[str]``: the dotted names of the facts that it looks at (``"loop"`` stands for all its
      parts). What is not named may keep its default, so what is dear to know is not found out. Without it all
      facts are filled in.
    * ``possible_lanes(static: Mapping[str, object]) -> frozenset[Lane]``: the lanes that it could choose when
      only the facts in ``static`` are known, by their dotted names. Without it: both.
    """

    def decide(self, facts: Facts, /) -> Decision:
        """The lane for a call with these facts, and why."""
        ...


def ask(policy: Policy, facts: Facts) -> Decision:
    """The policy's decision, made sure of: what :func:`load_policy` tries out, and what any caller may use.

    :raises PolicyError: if the policy raises, or answers with something else than a decision for a lane.
    """
    try:
        decision: object = policy.decide(facts)
    except Exception as error:
        raise PolicyError(
            source=source_of(policy),
            where="decide",
            problem=f"it raised {type(error).__name__}: {error}, for {_brief(facts)}",
            remedy="let it answer for all facts; a reading can be None",
        ) from error
    if not isinstance(decision, Decision) or not isinstance(decision.lane, Lane):
        raise PolicyError(
            source=source_of(policy),
            where="decide",
            problem=f"it answered {decision!r}",
            remedy="return Decision(lane=Lane.QUEUE, reason='…', rule='…')",
        )
    return decision


def reads_of(policy: Policy) -> frozenset[str] | None:
    """The dotted names of the facts that a policy looks at; ``None`` if it does not say, so it may be any.

    :raises PolicyError: if it names what is no fact.
    """
    reads = getattr(policy, "reads", None)
    if reads is None:
        return None
    if isinstance(reads, str) or not isinstance(reads, Iterable):
        raise PolicyError(
            source=source_of(policy),
            where="reads",
            problem=f"it is {reads!r}",
            remedy="give several names, as in reads = frozenset({'weight'})",
        )
    names = frozenset(reads)
    for name in names:
        if name not in FACTS and name not in GROUPS:
            raise PolicyError(
                source=source_of(policy),
                where="reads",
                problem=f"there is no fact {name!r}",
                remedy=remedy_for(str(name)),
            )
    return names


def possible_lanes_of(policy: Policy, static: Mapping[str, object]) -> frozenset[Lane]:
    """The lanes that a policy could choose when only some facts are known, by their dotted names.

    :raises PolicyError: if its ``possible_lanes`` raises, or answers with something else than lanes.
    """
    possible_lanes = getattr(policy, "possible_lanes", None)
    if possible_lanes is None:
        return EVERY_LANE
    try:
        return frozenset(Lane(lane) for lane in possible_lanes(static))
    except Exception as error:
        raise PolicyError(
            source=source_of(policy),
            where="possible_lanes",
            problem=f"it gave no set of lanes ({type(error).__name__}: {error})",
            remedy="return a frozenset of Lane, or leave the method out",
        ) from error


def _brief(facts: Facts) -> str:
    """The facts that are not what they are by default."""
    told = [
        f"{fact.name}={value!r}"
        for fact in fields(Facts)
        if (value := getattr(facts, fact.name)) != getattr(_NOTHING_KNOWN, fact.name)
    ]
    return f"Facts({', '.join(told)})"


def source_of(policy: object) -> str:
    """How an error message names a policy: its file, or its type."""
    source = getattr(policy, "source", None)
    return source if isinstance(source, str) else f"{type(policy).__module__}.{type(policy).__qualname__}"
