"""What a policy is: anything that decides from facts; and asking one, whoever wrote it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final, Protocol, runtime_checkable

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy.fact import FACTS, GROUPS, remedy_for
from weighbridge.policy.value_text import shown_object

EVERY_LANE: Final = frozenset(Lane)
_NOTHING_KNOWN: Final = Facts()
_ABSENT: Final = object()


@runtime_checkable
class Policy(Protocol):
    """Chooses the lane of a call that no constraint binds.

    Pure and total: the same facts give the same decision, on any thread, with no I/O, clock, randomness or
    exception. Four more attributes are optional:

    * ``reads: frozenset[str]``: the dotted names of the facts that it looks at (``"loop"`` stands for all its
      parts). What is not named may keep its default, so what is dear to know is not found out. Without it all
      facts are filled in.
    * ``possible_lanes(static: Mapping[str, object]) -> frozenset[Lane]``: the lanes that it could choose when
      only the facts in ``static`` are known, by their dotted names. Without it: both.
    * ``default_lane: Lane``: where a call goes if ``decide`` raises, or answers with something else than a decision;
      each such failure is counted, and the first of its kind is logged. Without it the request gets the error.
    * ``revision: str``: tells one content of the policy from another, on tickets and in logs. Without it it is made
      from the code and the plain values of the policy (:func:`~weighbridge.policy.revision.revision_of`), which is
      another in another version of Python, and under ``-O``.
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
    if not isinstance(decision, Decision) or not _is_complete(decision):
        raise PolicyError(
            source=source_of(policy),
            where="decide",
            problem=f"it answered {shown_object(decision)}",
            remedy="return Decision(lane=Lane.QUEUE, reason='…', rule='…')",
        )
    return decision


def _is_complete(decision: Decision) -> bool:
    """Whether it is of what its types say: the rule, above all, is a key by which calls are counted."""
    given: tuple[object, object, object] = (decision.lane, decision.reason, decision.rule)
    return all(isinstance(part, kind) for part, kind in zip(given, (Lane, str, str), strict=True))


def default_lane_of(policy: Policy) -> Lane | None:
    """The lane that a policy declares for the case that it fails; ``None`` if it declares none.

    :raises PolicyError: if it is no lane.
    """
    lane = declared(policy, "default_lane")
    if lane is None or (isinstance(lane, str) and lane in tuple(Lane)):
        return None if lane is None else Lane(lane)
    raise PolicyError(
        source=source_of(policy),
        where="default_lane",
        problem=f"it is {shown_object(lane)}",
        remedy="give Lane.IN_PROCESS or Lane.QUEUE, or leave it out",
    )


def reads_of(policy: Policy) -> frozenset[str] | None:
    """The dotted names of the facts that a policy looks at; ``None`` if it does not say, so it may be any.

    :raises PolicyError: if it names what is no fact.
    """
    reads = declared(policy, "reads")
    if reads is None:
        return None
    names = _listed(reads)
    if names is None:
        raise PolicyError(
            source=source_of(policy),
            where="reads",
            problem=f"it is {shown_object(reads)}",
            remedy="give several names, as in reads = frozenset({'weight'})",
        )
    for name in names:
        if not isinstance(name, str) or (name not in FACTS and name not in GROUPS):
            raise PolicyError(
                source=source_of(policy),
                where="reads",
                problem=f"there is no fact {shown_object(name)}",
                remedy=remedy_for(name) if isinstance(name, str) else "name facts, as in reads = frozenset({'weight'})",
            )
    return frozenset(names)


def _listed(reads: object) -> list[Any] | None:
    """What is in it; ``None`` if it holds no several things, or raises when it is looked through."""
    if isinstance(reads, str) or not isinstance(reads, Iterable):
        return None
    try:
        return list(reads)
    except Exception:  # noqa: BLE001  # of a class of somebody's own; the caller says what is wrong
        return None


def possible_lanes_of(policy: Policy, static: Mapping[str, object]) -> frozenset[Lane]:
    """The lanes that a policy could choose when only some facts are known, by their dotted names.

    :raises PolicyError: if its ``possible_lanes`` raises, or answers with something else than lanes.
    """
    possible_lanes: Any = declared(policy, "possible_lanes")
    if possible_lanes is None:
        return EVERY_LANE
    default_lane = default_lane_of(policy)
    try:
        lanes = frozenset(Lane(lane) for lane in possible_lanes(static))
        return lanes if default_lane is None else lanes | {default_lane}
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
    try:
        source = getattr(policy, "source", None)
    except Exception:  # noqa: BLE001  # a property that fails; its type is name enough
        source = None
    return source if isinstance(source, str) else f"{type(policy).__module__}.{type(policy).__qualname__}"


def declared(policy: object, name: str) -> object:
    """What a policy declares under a name that is optional; ``None`` if it does not declare it.

    :raises PolicyError: if it does, by a property that raises.
    """
    try:
        if inspect.getattr_static(policy, name, _ABSENT) is _ABSENT:
            return getattr(policy, name, None)  # what a __getattr__ may make up
        return getattr(policy, name)
    except Exception as error:
        raise PolicyError(
            source=source_of(policy),
            where=name,
            problem=f"it raised {type(error).__name__}: {error}",
            remedy="give a value that is ready, or leave it out",
        ) from error
