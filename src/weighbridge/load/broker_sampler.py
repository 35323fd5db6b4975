"""The broker sampler: reads in the background how many messages wait in each queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

from weighbridge.decision import BrokerReading
from weighbridge.events import emit

logger: Final = logging.getLogger("weighbridge.load")

BROKER_NOT_READ: Final = "load.broker_not_read"

#: Seconds from the end of one reading to the next.
BROKER_INTERVAL_S: Final = 1.0
#: Seconds after which what was read is unknown. Four more readings should have come meanwhile: so the broker does not
#: answer, or the thread gets no turn. One slow answer is not held against it.
BROKER_STALE_S: Final = 5.0


class BrokerSampler:
    """Reads once a second how many messages wait in each queue, on a thread.

    A read that fails makes them unknown at once; one that hangs, when the last reading is older than five seconds.
    """

    def __init__(
        self, *, waiting: Callable[[str], int], queues: Callable[[], Iterable[str]], clock: Callable[[], float]
    ) -> None:
        self._read = waiting
        self._queues = queues
        self._clock = clock
        #: The messages that wait in each queue, and since when that was so; one value, since other threads read it.
        self._last: tuple[dict[str, int], float] | None = None
        self._failed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="weighbridge-broker-sampler", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. A read under way is not waited for: it is bounded by the client's time-out."""
        self._stopping.set()

    def reading(self, queue: str, *, available: bool | None) -> BrokerReading:
        """The last reading for one queue: unknown if that queue was not read or the reading is stale; and its age.

        ``available`` is known without it, and is handed through.
        """
        last = self._last
        if last is None:
            return BrokerReading(available)
        waiting, read_at_s = last
        age_s = self._clock() - read_at_s
        return BrokerReading(available, waiting.get(queue) if age_s <= BROKER_STALE_S else None, age_s)

    def _sample(self) -> None:
        while not self._stopping.is_set():
            # Before it is read, so that no number is older than its age says, however slowly the broker answers.
            begun_at_s = self._clock()
            try:
                self._last = {queue: self._read(queue) for queue in self._queues()}, begun_at_s
            except Exception as error:  # noqa: BLE001  # whatever the broker raises, the answer is "unknown"
                if self._last is not None:
                    self._last = {}, self._last[1]
                if not self._failed:
                    emit(logger, BROKER_NOT_READ, level=logging.WARNING, problem=type(error).__name__)
                self._failed = True
            else:
                self._failed = False
            self._stopping.wait(BROKER_INTERVAL_S)
