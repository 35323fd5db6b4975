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


class Recorder:
    """Writes the counts of one shadow. A store that cannot be written costs nothing but a warning: they wait for it.

    :param write_every_s: Seconds between two writes.
    :param now: The time, in UTC.
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
        #: This process since the last start, and the number of its last delta.
        self._writer, self._number = "", 0
        #: What is in deltas already.
        self._taken = Tally()
        #: The delta that the store has not confirmed. It is the same until it does.
        self._delta: Delta | None = None
        self._is_failing = False
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, store: ShadowStore) -> None:
        """Write into this store from now on."""
        # Not made with the recorder: processes that are forked after the import would share it.
        self._writer, self._number = secrets.token_hex(6), 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(store, self._stopping), name="weighbridge shadow", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Write once more, and end. Blocks, for 5 s at most; a warning says what could not be kept."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        thread.join(LAST_WRITE_S)
        waiting = self._waiting()
        if waiting:
            emit(
                logger,
                NOT_KEPT,
                level=logging.WARNING,
                calls=waiting,
                problem="the dispatcher is closed, and they are in no store",
            )

    def write(self, store: ShadowStore) -> bool:
        """Write what has come since the last time; whether all of it is kept now. Blocks."""
        with self._writing:
            try:
                if self._delta is not None:  # may be there already, which the store knows by its number
                    self._confirm(store, self._delta)
                delta = self._next()
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

    def _run(self, store: ShadowStore, stopping: threading.Event) -> None:
        while not stopping.wait(self._write_every_s):
            self.write(store)
        self.write(store)

    def _next(self) -> Delta | None:
        tally = self._shadow.tally
        new = tally - self._taken
        if not new.total:
            return None
        self._number += 1
        self._taken = tally
        self._delta = delta_of(
            new,
            shadow=self._shadow.revision,
            names=self._shadow.names,
            now=self._now(),
            writer=self._writer,
            number=self._number,
        )
        return self._delta

    def _confirm(self, store: ShadowStore, delta: Delta) -> None:
        store.add(delta)
        self._delta = None

    def _waiting(self) -> int:
        delta = self._delta
        return (self._shadow.tally - self._taken).total + (0 if delta is None else sum(delta.added.values()))

    def _tell(self, problem: str, error: Exception | None) -> None:
        """Say so once, until it is kept again."""
        if not self._is_failing:
            emit(logger, NOT_KEPT, level=logging.WARNING, error=error, calls=self._waiting(), problem=problem)
        self._is_failing = True
