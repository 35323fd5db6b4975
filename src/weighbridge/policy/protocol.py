"""What a policy is: anything that decides from facts; and asking one, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from hashlib import sha256
from types import CodeType, FunctionType
from typing import Final, Protocol, TypeGuard, runtime_checkable

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy.fact import FACTS, GROUPS, remedy_for

EVERY_LANE: Final = frozenset(Lane)
#: The longest revision that a policy in code may give itself, in characters.
MAX_REVISION: Final = 100
_REVISION: Final = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_REVISION - 2}}}[!-~])?")
_NOTHING_KNOWN: Final = Facts()


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
    * ``revision: str``: tells one content of the policy from another, on tickets and in logs. Without it: the
      first 12 hexadecimal digits of the SHA-256 of what its class's methods compile to.
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


def default_lane_of(policy: Policy) -> Lane | None:
    """The lane that a policy declares for the case that it fails; ``None`` if it declares none.

    :raises PolicyError: if it is no lane.
    """
    lane = getattr(policy, "default_lane", None)
    if lane is None or lane in tuple(Lane):
        return None if lane is None else Lane(lane)
    raise PolicyError(
        source=source_of(policy),
        where="default_lane",
        problem=f"it is {lane!r}",
        remedy="give Lane.IN_PROCESS or Lane.QUEUE, or leave it out",
    )


def revision_of(policy: Policy) -> str:
    """What tells this content of a policy from another: its own ``revision``, or a hash of its class's code.

    :raises PolicyError: if its own is no text of 1 to 100 printable ASCII characters.
    """
    revision = getattr(policy, "revision", None)
    if revision is None:
        kind = type(policy)
        return content_hash(f"{kind.__module__}.{kind.__qualname__} {_compiled(kind)}")
    if is_revision(revision):
        return revision
    raise PolicyError(
        source=source_of(policy),
        where="revision",
        problem=f"it is {revision!r}",
        remedy=f"give 1 to {MAX_REVISION} printable ASCII characters, no blank first or last, or leave it out",
    )


def _compiled(kind: type) -> str:
    """What the methods of a class compile to. Not its source: to read that is I/O, and a terminal keeps none."""
    return " ".join(
        f"{name}={_code(value.__code__)}"
        for each in kind.__mro__
        for name, value in sorted(vars(each).items())
        if isinstance(value, FunctionType)
    )


def _code(code: CodeType) -> str:
    return f"{code.co_code.hex()} {code.co_names} {[_constant(each) for each in code.co_consts]}"


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return _code(value)
    # The order of a set of texts differs from process to process.
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def is_revision(value: object) -> TypeGuard[str]:
    """Whether it can be a revision: a short text that can stand in a log."""
    return isinstance(value, str) and _REVISION.fullmatch(value) is not None


def content_hash(content: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a text in UTF-8."""
    return sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:12]


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
    source = getattr(policy, "source", None)
    return source if isinstance(source, str) else f"{type(policy).__module__}.{type(policy).__qualname__}"
