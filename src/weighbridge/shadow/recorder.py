"""The recorder: writes what a shadow has counted into a store, from a thread of its own."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from weighbridge.errors import WeighbridgeError
from weighbridge.events import emit
from weighbridge.shadow.counter import ShadowCounter
from weighbridge.shadow.fields import delta_of
from weighbridge.shadow.shadow import Tally
from weighbridge.shadow.store import Delta, ShadowStore

logger: Final = logging.getLogger("weighbridge.shadow")

NOT_KEPT: Final = "shadow.not_kept"
KEPT_AGAIN: Final = "shadow.kept_again"

#: Seconds between two writes: what a process that is killed loses of its counts.
WRITE_EVERY_S: Final = 5.0
#: Seconds for the last write. A store that hangs must not keep a service from its end.
LAST_WRITE_S: Final = 5.0


class Writer:
    """Who writes: one start of a recorder. It is what a store tells deltas apart by, with their number."""

    def __init__(self) -> None:
        self.id: Final = secrets.token_hex(6)
        self.number = 0
        self.stopping: Final = threading.Event()


class Recorder:
    """Writes the counts of one shadow. A store that cannot be written costs nothing but a warning: they wait for it.

    :param write_every_s: Seconds between two writes.
    :param now: The time.
    """

    def __init__(
        self,
        shadow: ShadowCounter,
        *,
        write_every_s: float = WRITE_EVERY_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._shadow = shadow
        self._write_every_s = write_every_s
        self._now = now
        #: What is in deltas already, and when the last one was taken.
        self._taken, self._taken_at = Tally(), now()
        #: The delta that the store has not confirmed. It is the same until it does.
        self._delta: Delta | None = None
        self._is_failing = False
        self._writing = threading.Lock()
        self._running: tuple[threading.Thread, Writer] | None = None

    def start(self, store: ShadowStore) -> None:
        """Write into this store from now on, until :meth:`stop`."""
        # Not made with the recorder: processes that are forked after the import would share it.
        writer = Writer()
        if not self._waiting():
            self._taken_at = self._now()
        thread = threading.Thread(target=self._run, args=(store, writer), name="weighbridge shadow", daemon=True)
        self._running = thread, writer
        thread.start()

    def stop(self) -> None:
        """Write once more, and end. Blocks, for 5 s at most; a warning says what could not be kept."""
        running, self._running = self._running, None
        if running is None:
            return
        thread, writer = running
        writer.stopping.set()
        thread.join(LAST_WRITE_S)
        waiting = self._waiting()
        if waiting:
            problem = "the dispatcher is closed, and no store has confirmed them"
            emit(logger, NOT_KEPT, level=logging.WARNING, calls=waiting, problem=problem)

    def _run(self, store: ShadowStore, writer: Writer) -> None:
        while not writer.stopping.wait(self._write_every_s):
            self.write(store, writer)
        self.write(store, writer)

    def write(self, store: ShadowStore, writer: Writer) -> bool:
        """Write what has come since the last time; whether all of it is kept now. Blocks."""
        with self._writing:
            try:
                if self._delta is not None:  # may be there already, which the store knows by its number
                    self._confirm(store, self._delta)
                delta = self._next(writer)
                if delta is not None:
                    self._confirm(store, delta)
            except WeighbridgeError as error:
                self._tell(str(error), None)
            except Exception as error:  # noqa: BLE001  # a store must not end the thread, whatever it does
                self._tell(f"{type(error).__name__}: {error}", error)
            else:
                if self._is_failing:
                    emit(logger, KEPT_AGAIN)
                self._is_failing = False
                return True
            return False

    def _next(self, writer: Writer) -> Delta | None:
        tally, now = self._shadow.tally, self._now()
        new = tally - self._taken
        if new.total:
            delta = delta_of(
                new,
                shadow=self._shadow.revision,
                names=self._shadow.names,
                since=self._taken_at,
                until=now,
                writer=writer.id,
                number=writer.number + 1,
            )
            writer.number += 1
            self._delta = delta
        self._taken, self._taken_at = tally, now
        return self._delta

    def _confirm(self, store: ShadowStore, delta: Delta) -> None:
        store.add(delta)
        self._delta = None

    def _waiting(self) -> int:
        delta = self._delta
        unconfirmed = 0 if delta is None else sum(delta.added.values())
        return (self._shadow.tally - self._taken).total + unconfirmed

    def _tell(self, problem: str, error: Exception | None) -> None:
        """Say so once, until it is kept again."""
        if not self._is_failing:
            emit(logger, NOT_KEPT, level=logging.WARNING, error=error, calls=self._waiting(), problem=problem)
        self._is_failing = True
