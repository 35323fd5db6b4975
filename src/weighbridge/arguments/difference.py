"""A difference: where a value would arrive otherwise than it was sent, how, and what to do about it."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Final


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two values differ, how, and what to do. ``path`` leads from the outer value to the place.

    ``sent`` and ``arrives`` are the names of the two types, if it is these that differ: then the difference is a drift.
    """

    problem: str
    remedy: str
    path: str = ""
    sent: str | None = None
    arrives: str | None = None

    @classmethod
    def of_types(cls, sent: type, arrives: type, *, remedy: str) -> Difference:
        """A drift from one type to the other; types of one name are told apart by their modules."""
        names = [each.__name__ for each in (sent, arrives)]
        if names[0] == names[1]:
            names = [f"{each.__module__}.{each.__qualname__}" for each in (sent, arrives)]
        return cls(problem="would arrive as another type", remedy=remedy, sent=names[0], arrives=names[1])

    def inside(self, step: str) -> Difference:
        """The same, seen from the value that holds it."""
        return dataclasses.replace(self, path=step + self.path)


class Absence(Enum):
    """Stands for a value that is not there."""

    ABSENT = "absent"


CHANGED: Final = Difference(
    problem="would arrive changed",
    remedy="its type validates it again in the worker: pass a value that comes through unchanged",
)
