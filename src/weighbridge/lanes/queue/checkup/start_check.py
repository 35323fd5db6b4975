"""The check at start: what in the broker's settings breaks a promise is logged once, whenever it can be found out."""

from __future__ import annotations

import logging
import threading
from typing import Final

import dramatiq

from weighbridge.events import emit
from weighbridge.lanes.queue.checkup.examination import broken_promises
from weighbridge.lanes.queue.failure import is_brokers
from weighbridge.lanes.queue.writer_choice import writer_for

logger: Final = logging.getLogger("weighbridge.queue")

BREAKS_PROMISE: Final = "queue.broker_breaks_promise"
CHECK_FAILED: Final = "queue.broker_check_failed"
#: Seconds that each of its exchanges may take, and between two tries while the broker is away.
TIMEOUT_S: Final = 5.0
TRY_AGAIN_S: Final = 10.0


class StartCheck(threading.Thread):
    """Looks once, on a thread and a connection of its own, so that neither a start nor a loop waits for it.

    A broker that is away is told by others; this looks as soon as it is there. About the embedded server, which is
    never for production, it says nothing.
    """

    def __init__(self, broker: dramatiq.Broker, *, try_again_s: float = TRY_AGAIN_S) -> None:
        super().__init__(name="weighbridge-start-check", daemon=True)
        self._broker = broker
        self._try_again_s = try_again_s
        self._ended = threading.Event()

    def stop(self) -> None:
        """Look no more. Does not wait for an exchange under way, which is bounded."""
        self._ended.set()

    def run(self) -> None:
        """Look until an answer has come, and log what it means."""
        while not self._ended.is_set():
            try:
                findings = broken_promises(self._broker, timeout_s=TIMEOUT_S)
            except Exception as error:  # noqa: BLE001  # a check must not be what ends a process
                if not is_brokers(error):
                    emit(logger, CHECK_FAILED, level=logging.WARNING, error=error)
                    return
                self._ended.wait(self._try_again_s)
                continue
            if self._ended.is_set():
                return
            for each in findings:
                emit(
                    logger,
                    BREAKS_PROMISE,
                    level=logging.WARNING,
                    broker=writer_for(self._broker).address,
                    check=each.check,
                    promises=", ".join(each.breaks),
                    problem=each.text,
                    remedy=each.remedy,
                )
            return
