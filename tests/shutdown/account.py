"""The account of a stop: every call that was accepted, by what became of it.

Nothing here knows a process or a broker: ids, lines of the record and lines of the log come in, sets of ids come out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from tests.faults.record import Line, Mark, Place
from tests.shutdown.work import LIFESPAN_ENDED, LIFESPAN_ENDING, LIFESPAN_OPENED, Kind

HANDED_OVER: Final = "in_process.call_handed_over"
CALL_ID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
#: Levels of lines that an operator sees without having configured anything.
TOLD: Final = ("WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What the processes of a service have logged: ids of calls, and how far their lifespans got."""

    reported: frozenset[str]
    handed_over: frozenset[str]
    opened: int
    ending: int
    ended: int

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """From lines that begin with their level. A call is reported if a warning or an error names its id."""
        lines = list(lines)
        reported = {call for line in lines if line.startswith(TOLD) for call in CALL_ID.findall(line)}
        handed_over = {call for line in lines if HANDED_OVER in line for call in CALL_ID.findall(line)}
        return cls(
            reported=frozenset(reported),
            handed_over=frozenset(handed_over),
            opened=sum(LIFESPAN_OPENED in line for line in lines),
            ending=sum(LIFESPAN_ENDING in line for line in lines),
            ended=sum(LIFESPAN_ENDED in line for line in lines),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Each field is a set of call ids.

    ``accepted`` splits into ``finished`` (in the web process), ``by_worker`` (run to the end by a worker),
    ``reported`` (neither, and the log names the id) and ``lost`` (neither, in silence). ``handed_over``: the log
    says so. ``late``: reported, and finished after all. ``duplicated``: started more than once. ``stuck``: can be
    queued, and was neither finished nor run by a worker. ``unanswered``: ran, though its client got no answer with
    its id.
    """

    accepted: frozenset[str]
    finished: frozenset[str]
    by_worker: frozenset[str]
    reported: frozenset[str]
    lost: frozenset[str]
    handed_over: frozenset[str]
    late: frozenset[str]
    duplicated: frozenset[str]
    stuck: frozenset[str]
    unanswered: frozenset[str]

    @classmethod
    def of(cls, accepted: Mapping[str, Kind], lines: Iterable[Line], events: Events) -> Self:
        """Draw up the account. ``accepted``: the ids of all tickets that clients got with a 2xx response."""
        lines = list(lines)
        calls = frozenset(accepted)
        starts = Counter(line.call for line in lines if line.mark is Mark.STARTED)
        finished = calls & _finished(lines, Place.WEB)
        by_worker = (calls & _finished(lines, Place.WORKER)) - finished
        reported = (calls & events.reported) - finished - by_worker
        can_be_queued = frozenset(call for call, kind in accepted.items() if kind is not Kind.STAYING)
        return cls(
            accepted=calls,
            finished=finished,
            by_worker=by_worker,
            reported=reported,
            lost=calls - finished - by_worker - reported,
            handed_over=calls & events.handed_over,
            late=events.reported & finished,
            duplicated=frozenset(call for call, count in starts.items() if count > 1),
            stuck=can_be_queued - finished - by_worker,
            unanswered=frozenset(starts) - calls,
        )

    def figures(self) -> dict[str, int]:
        """The number of calls in each field, in the order of the fields."""
        return {name: len(getattr(self, name)) for name in self.__slots__}


def _finished(lines: Iterable[Line], place: Place) -> frozenset[str]:
    return frozenset(line.call for line in lines if line.mark is Mark.FINISHED and line.place is place)
