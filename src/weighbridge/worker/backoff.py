"""How long to wait before a dead child is replaced: hardly at all, unless it keeps dying fast."""

from __future__ import annotations

from typing import Final

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 30.0
#: A child that lived for less than this counts as one that dies fast.
SHORT_LIFE_S: Final = 10.0


class Backoff:
    """The delays of one child's place. Pure: it is told how long each child lived, in seconds."""

    def __init__(self) -> None:
        self._delay_s = FIRST_DELAY_S

    def after_death(self, *, lived_s: float) -> float:
        """Seconds until the next start: few after a long life, doubled with each short one in a row."""
        if lived_s >= SHORT_LIFE_S:
            self._delay_s = FIRST_DELAY_S
        delay_s = self._delay_s
        self._delay_s = min(LONGEST_DELAY_S, 2 * delay_s)
        return delay_s
