"""The store of a shadow's counts: what is written into it, and what every store promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

#: Days for which counts are kept, today included: a month, of which a policy is judged by a week.
KEPT_DAYS: Final = 32
#: Fields of one day to which others may be added. Each process has a bound on its rows; this is one for all of them,
#: whatever they make up, so that neither the broker's memory nor a report is filled by a shadow.
MOST_FIELDS: Final = 10_000
#: The field that is added to where a new one would be one too many.
BEYOND: Final = '["beyond"]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What one process writes at a time. A field is a text that ``fields.py`` makes and reads.

    ``writer`` (a field) and ``number`` say which delta it is: a store takes each once, so that one whose answer was
    lost can be written again. The deltas of a writer are numbered upwards, and written in that order.
    """

    writer: str
    number: int
    day: date
    #: Calls to be added to what a field holds.
    added: Mapping[str, int]
    #: What a field holds at most from now on, in whole seconds since 1970.
    lowest: Mapping[str, int]
    #: What a field holds at least from now on.
    highest: Mapping[str, int]
    #: What a field holds from now on.
    named: Mapping[str, str]


class ShadowStore(Protocol):
    """Keeps the counts of a service over restarts, and sums up those of its processes. Its methods block.

    Its text is how a person finds it: the file, or the server and the namespace.
    """

    def add(self, delta: Delta) -> None:
        """Take a delta, all of it or nothing, and nothing of one that was taken before.

        :raises WeighbridgeError: if it cannot be taken, or that is unknown; writing it again is safe.
        """
        ...

    def read(self, day: date) -> Mapping[str, str]:
        """The fields of one day (UTC); none if nothing was kept.

        :raises WeighbridgeError: if they cannot be read.
        """
        ...
