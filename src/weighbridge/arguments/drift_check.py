"""The check of calls that stay in process: would a worker get the same arguments?"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from weighbridge.arguments.codec import ArgumentCodec
from weighbridge.errors import ArgumentError
from weighbridge.events import emit
from weighbridge.settings import ArgumentsCheck

#: For whom it is told from here: the chooser asks for the check, and the event is its own.
chooser_logger: Final = logging.getLogger("weighbridge.chooser")

ARGUMENTS_WOULD_NOT_CROSS: Final = "chooser.arguments_would_not_cross"

#: Bounds of what is remembered. Past the first, all is forgotten, and told again; past the second, a task's further
#: places are not told: keys that are data would make ever new ones.
MOST_TASKS: Final = 10_000
MOST_PLACES: Final = 100
_INDEX: Final = re.compile(r"\[\d+\]")


class _Seen:
    """Of one task: a count of its calls, and the places that were told of."""

    __slots__ = ("calls", "places")

    def __init__(self) -> None:
        self.calls = count()
        self.places: set[str] = set()


class DriftCheck:
    """Encodes the arguments of a call that stays, reads them back and compares, as if it went to the queue.

    ``share`` is the part of each task's calls that is looked at: the first one, and from there in even steps. On any
    thread: calls that are counted at the same moment are each counted once.
    """

    def __init__(self, *, refuses: bool, share: float, limit_bytes: int) -> None:
        self._refuses = refuses
        self._share = share
        self._limit_bytes = limit_bytes
        self._seen: dict[str, _Seen] = {}

    @classmethod
    def of(cls, check: ArgumentsCheck, *, share: float, limit_bytes: int) -> DriftCheck | None:
        """What the settings ask for; ``None`` for nothing."""
        if check is ArgumentsCheck.OFF:
            return None
        return cls(refuses=check is ArgumentsCheck.STRICT, share=share, limit_bytes=limit_bytes)

    def look(self, task: str, codec: ArgumentCodec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Look at one call, if it is in the share. A warning is logged once for each place of a task.

        :raises ArgumentError: if a worker would not get its arguments as they are, and that is refused.
        """
        seen = self._seen.get(task) or self._meet(task)
        if self._share < 1:
            number = next(seen.calls)  # one step of the interpreter, so no two threads get the same
            if number and int(number * self._share) == int((number - 1) * self._share):
                return
        try:
            codec.check_size(*codec.encode(args, kwargs), limit_bytes=self._limit_bytes)
        except ArgumentError as error:
            if self._refuses:
                error.add_note("The call was to stay in process: arguments_check='strict' refuses what a queue would.")
                raise
            self._tell(seen, error)

    def _meet(self, task: str) -> _Seen:
        if len(self._seen) >= MOST_TASKS:
            self._seen.clear()
        return self._seen.setdefault(task, _Seen())

    def _tell(self, seen: _Seen, error: ArgumentError) -> None:
        # The same fault in each row of a table is one; another fault at the same place is not.
        place = _INDEX.sub("[]", f"{error.place} {error.drift or error.problem}")
        if place in seen.places or len(seen.places) >= MOST_PLACES:
            return
        seen.places.add(place)
        how: dict[str, Any] = {"problem": error.problem} if error.drift is None else {"drift": error.drift}
        emit(
            chooser_logger,
            ARGUMENTS_WOULD_NOT_CROSS,
            level=logging.WARNING,
            task=error.task,
            argument=error.argument,
            **how,
            remedy=error.remedy,
        )
