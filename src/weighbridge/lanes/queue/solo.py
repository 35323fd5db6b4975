"""Lets a suspect run alone: while it does, this process hands out nothing else, of no queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

#: One entry of one queue.
Key = tuple[str, str]

#: Seconds for which a process hands out nothing more so that a suspect gets it for itself. If what runs takes longer,
#: the others go on for nine times as long, and the next wait is twice as long: so a suspect costs the process a tenth
#: of its time, and is run in the end however long the others take.
FIRST_PATIENCE_S: Final = 5.0
OPEN_SHARE: Final = 9


class Admission(StrEnum):
    """Whether an entry may be handed out to the worker's threads."""

    ADMITTED = "admitted"
    CLOSED = "closed"
    """Not within the time: a suspect runs alone, or waits to."""
    LATER = "later"
    """A suspect that has to step aside for a while: another one is on, or what runs takes too long."""


class Solo:
    """What this process has handed out and not settled yet, and the suspect that wants to be the only one.

    Thread-safe. One for each broker, over all its queues.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._out: set[Key] = set()
        self._suspect: Key | None = None
        self._patience_s = FIRST_PATIENCE_S
        self._patient_until_s = 0.0
        self._again_at_s = 0.0

    def admit(self, key: Key, *, timeout_s: float) -> Admission:
        """An entry that is no suspect; waits while one is on."""
        with self._lock:
            if self._suspect is not None and not self._changed.wait_for(self._is_open, timeout_s):
                return Admission.CLOSED
            self._out.add(key)
            return Admission.ADMITTED

    def admit_alone(self, key: Key, *, timeout_s: float) -> Admission:
        """A suspect; closes the process for all others, and waits until nothing else is out."""
        with self._lock:
            now_s = self._clock()
            if self._suspect is None and now_s >= self._again_at_s:
                self._suspect = key
                self._patient_until_s = now_s + self._patience_s
            if self._suspect != key:
                return Admission.LATER
            self._changed.wait_for(lambda: not self._out, min(timeout_s, self._patient_until_s - now_s))
            if not self._out:
                self._patience_s = FIRST_PATIENCE_S
                self._out.add(key)
                return Admission.ADMITTED
            if self._clock() < self._patient_until_s:
                return Admission.CLOSED
            self._again_at_s = self._clock() + OPEN_SHARE * self._patience_s
            self._patience_s *= 2
            self._suspect = None
            self._changed.notify_all()
            return Admission.LATER

    def leave(self, keys: Iterable[Key]) -> None:
        """These are settled, or given back: whether they were handed out or not."""
        with self._lock:
            for key in keys:
                self._out.discard(key)
                if key == self._suspect:
                    self._suspect = None
            self._changed.notify_all()

    def wait_until_open(self, *, timeout_s: float) -> bool:
        """Whether others than a suspect may be handed out; waits for that for ``timeout_s`` seconds at most."""
        with self._lock:
            return self._suspect is None or self._changed.wait_for(self._is_open, timeout_s)

    def _is_open(self) -> bool:
        return self._suspect is None
