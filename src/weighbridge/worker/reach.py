"""Whether the broker can be reached when a worker starts: said once with what to do, and again when it is there."""

from __future__ import annotations

import contextlib
import threading
from typing import Final

import dramatiq

from weighbridge.errors import BrokerError
from weighbridge.lanes.queue import QueueLane
from weighbridge.settings import Settings

#: Seconds between two tries. Dramatiq's consumers wait as long before they connect again.
TRY_AGAIN_S: Final = 3.0


class FirstContact:
    """A thread that asks the broker for an answer until it gives one, and then ends.

    The lane logs ``queue.broker_lost`` and ``queue.broker_back``. The worker does not wait for this: its consumers
    connect by themselves as soon as they can.
    """

    def __init__(self, broker: dramatiq.Broker, *, settings: Settings) -> None:
        self._lane = QueueLane(
            broker=broker,
            timeout_s=settings.enqueue_timeout_s,
            waiting_limit=settings.publisher_waiting,
            close_broker=False,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._try, name="weighbridge-first-contact", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more, so that the broker can be closed."""
        self._ended.set()
        self._thread.join(TRY_AGAIN_S)

    def _try(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(BrokerError):  # the lane has logged it
                self._lane.ping()
                return
            self._ended.wait(TRY_AGAIN_S)
