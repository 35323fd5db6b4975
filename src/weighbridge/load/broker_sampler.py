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

BROKER_INTERVAL_S: Final = 1.0


class BrokerSampler:
    """Reads once a second how many messages wait in each queue, on a thread; a failed read makes them unknown."""

    def __init__(
        self, *, waiting: Callable[[str], int], queues: Callable[[], Iterable[str]], clock: Callable[[], float]
    ) -> None:
        self._read = waiting
        self._queues = queues
        self._clock = clock
        self._waiting: dict[str, int] = {}
        self._read_at_s: float | None = None
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
        """The last reading for one queue."""
        read_at_s = self._read_at_s
        if read_at_s is None:
            return BrokerReading(available=available)
        return BrokerReading(
            available=available, waiting=self._waiting.get(queue), age_s=max(0.0, self._clock() - read_at_s)
        )

    def _sample(self) -> None:
        while not self._stopping.is_set():
            try:
                self._waiting = {queue: self._read(queue) for queue in self._queues()}
            except Exception as error:  # noqa: BLE001  # whatever the broker raises, the answer is "unknown"
                self._waiting = {}
                if not self._failed:
                    emit(logger, BROKER_NOT_READ, level=logging.WARNING, problem=type(error).__name__)
                self._failed = True
            else:
                self._failed = False
                self._read_at_s = self._clock()
            self._stopping.wait(BROKER_INTERVAL_S)
