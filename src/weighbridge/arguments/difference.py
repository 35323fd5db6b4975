"""A difference: where a value would arrive otherwise than it was sent, how, and what to do about it."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Final


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two values differ, how, and what to do. ``path`` leads from the outer value to the place."""

    problem: str
    remedy: str
    path: str = ""

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
