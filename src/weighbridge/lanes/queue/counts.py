"""What became of the calls that were handed to the queue lane, counted in this process since it was opened first."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """Numbers of calls.

    ``accepted``: the broker has them. ``refused``: it certainly has not. ``unknown``: it may. ``ran_here``: calls of
    tasks with ``on_unavailable="run_here"`` that took the lane in process because the queue was not available; those
    that were refused first, since the broker failed at their commit, stand in ``refused`` too.
    """

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    ran_here: int = 0


class QueueCounter:
    """Counts, on any thread."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._accepted = self._refused = self._unknown = self._ran_here = 0

    def accepted(self, calls: int) -> None:
        """The broker has so many more."""
        with self._lock:
            self._accepted += calls

    def not_accepted(self, calls: int, *, unknown: bool) -> None:
        """So many more were refused, or may be there all the same."""
        with self._lock:
            if unknown:
                self._unknown += calls
            else:
                self._refused += calls

    def ran_here(self, calls: int) -> None:
        """So many more took the lane in process instead."""
        with self._lock:
            self._ran_here += calls

    def counts(self) -> QueueCounts:
        """The numbers at this moment."""
        with self._lock:
            return QueueCounts(
                accepted=self._accepted, refused=self._refused, unknown=self._unknown, ran_here=self._ran_here
            )
