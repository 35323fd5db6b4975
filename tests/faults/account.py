"""The account of a fault: every call that was attempted, by its client's answer and by how it ended, as in Jepsen.

Nothing here knows a broker or a process: sets of call ids come in, sets of call ids come out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.faults.record import Line, Mark, Place


class Answer(StrEnum):
    """What a client knows of its call when its request has ended."""

    ACCEPTED = "accepted"
    """2xx: the call will run."""
    REFUSED = "refused"
    """The service says that the call certainly is not in the queue."""
    UNKNOWN = "unknown"
    """Anything else: no answer, an error, or the word that it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request that adds one call. Times are of the monotonic clock, which all processes of a machine share."""

    call: str
    answer: Answer
    status: int
    sent_at_s: float
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What the broker holds in the end: the calls that wait or are held, and the dead ones with their reasons."""

    present: Mapping[str, int] = field(default_factory=dict)
    dead: Mapping[str, str] = field(default_factory=dict)


#: Who must be empty, whatever the fault.
WRONG: Final = ("lost", "stranded", "misplaced", "unexpected", "doubled")
EXPIRED: Final = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Each field is a set of call ids.

    ``attempted`` splits into ``acknowledged``, ``refused`` and ``unknown`` by the answers; ``ok``, ``dead`` and
    ``expired`` are ends. ``stranded``: accepted, without an end, and still with the broker. ``lost``: accepted,
    without an end, and nowhere. ``recovered``: of unknown fate for the client, and there all the same. ``misplaced``:
    run where its declaration forbids. ``unexpected``: run or waiting though refused, or never attempted. ``doubled``:
    with the broker twice. ``duplicated``: started more often than its failures ask for.
    """

    attempted: frozenset[str]
    acknowledged: frozenset[str]
    refused: frozenset[str]
    unknown: frozenset[str]
    ok: frozenset[str]
    dead: frozenset[str]
    expired: frozenset[str]
    stranded: frozenset[str]
    lost: frozenset[str]
    recovered: frozenset[str]
    misplaced: frozenset[str]
    unexpected: frozenset[str]
    doubled: frozenset[str]
    duplicated: frozenset[str]

    @classmethod
    def of(
        cls,
        attempts: Iterable[Attempt],
        lines: Iterable[Line],
        holdings: Holdings,
        *,
        allowed: frozenset[Place] = frozenset({Place.WORKER}),
        may_stay: Iterable[str] = (),
    ) -> Account:
        """Draw up the account. ``may_stay``: the calls that may run in the web process too."""
        answers = {attempt.call: attempt.answer for attempt in attempts}
        here = frozenset(may_stay)
        lines = list(lines)
        starts = Counter(line.call for line in lines if line.mark is Mark.STARTED)
        failures = Counter(line.call for line in lines if line.mark is Mark.FAILED)
        ok = frozenset(line.call for line in lines if line.mark is Mark.FINISHED)
        expired = frozenset(call for call, reason in holdings.dead.items() if reason == EXPIRED) - ok
        dead = frozenset(holdings.dead) - expired - ok
        present = frozenset(holdings.present)
        acknowledged = _answered(answers, Answer.ACCEPTED)
        refused = _answered(answers, Answer.REFUSED)
        unknown = _answered(answers, Answer.UNKNOWN)
        ended = ok | dead | expired
        seen = frozenset(starts) | present | frozenset(holdings.dead)
        return cls(
            attempted=frozenset(answers),
            acknowledged=acknowledged,
            refused=refused,
            unknown=unknown,
            ok=ok,
            dead=dead,
            expired=expired,
            stranded=(acknowledged - ended) & present,
            lost=acknowledged - ended - present,
            recovered=unknown & seen,
            misplaced=frozenset(
                line.call
                for line in lines
                if line.mark is Mark.STARTED and line.place not in allowed and line.call not in here
            ),
            unexpected=(seen & refused) | (seen - frozenset(answers)),
            doubled=frozenset(call for call, copies in holdings.present.items() if copies > 1),
            duplicated=frozenset(call for call, count in starts.items() if count > 1 + failures[call]),
        )

    def problems(self) -> tuple[str, ...]:
        """The promises that do not hold, each with its number of calls; empty if all hold."""
        found = [f"{len(calls)} {name}" for name in WRONG if (calls := getattr(self, name))]
        missing = self.acknowledged - self.ok - self.dead - self.expired - self.stranded - self.lost
        if missing:
            found.append(f"{len(missing)} without an account")
        return tuple(found)

    def figures(self) -> dict[str, int]:
        """The number of calls in each field, in the order of the fields."""
        return {name: len(getattr(self, name)) for name in self.__slots__}


def _answered(answers: Mapping[str, Answer], answer: Answer) -> frozenset[str]:
    return frozenset(call for call, given in answers.items() if given is answer)
