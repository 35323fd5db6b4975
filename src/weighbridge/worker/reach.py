"""Whether a worker's broker can be reached: said once when it is lost, and again when it is there."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import dramatiq

from weighbridge.errors import BrokerError
from weighbridge.events import emit
from weighbridge.lanes.queue import QueueLane
from weighbridge.lanes.queue.connect import ConnectedBroker
from weighbridge.lanes.queue.failure import is_wrong_database, unreached
from weighbridge.lanes.queue.writer import Writer
from weighbridge.settings import Settings

logger: Final = logging.getLogger("weighbridge.worker")

FETCH_FAILED: Final = "worker.fetch_failed"
#: Seconds between two tries. Dramatiq's consumers wait as long before they connect again.
TRY_AGAIN_S: Final = 3.0
#: Seconds without a failure after which the same one is news again.
FORGET_S: Final = 60.0


def refusal_of(broker: dramatiq.Broker) -> str | None:
    """Why no wait will help, in words for a person; ``None`` if it may. One exchange with a broker of our own."""
    if not isinstance(broker, ConnectedBroker):
        return None  # another's client may have no time-outs, and this one waits for an answer
    writer = Writer(broker)
    try:
        writer.ping()
    except Exception as error:  # noqa: BLE001  # whatever else it is, Contact tells of it, and tries again
        return unreached(error, address=writer.address).problem if is_wrong_database(error) else None
    return None


class Contact:
    """A thread that asks the broker for an answer at the start, and whenever a consumer's connection has failed.

    The lane logs ``queue.broker_lost`` and ``queue.broker_back``, once each. A queue that cannot be read though the
    broker answers is told as ``worker.fetch_failed``. The worker does not wait for this: its consumers connect by
    themselves as soon as they can.
    """

    def __init__(
        self, broker: dramatiq.Broker, *, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lane = QueueLane(
            broker=broker,
            timeout_s=settings.enqueue_timeout_s,
            waiting_limit=settings.publisher_waiting,
            close_broker=False,
        )
        self._clock = clock
        self._failures: deque[tuple[str, str]] = deque()
        self._told_s: dict[tuple[str, str], float] = {}
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="weighbridge-contact", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._wanted.set()
        self._thread.start()

    def stop(self) -> None:
        """Ask no more, so that the broker can be closed."""
        self._ended.set()
        self._wanted.set()
        self._thread.join(TRY_AGAIN_S)

    def consumer_failed(self, queue: str, error: BaseException) -> bool:
        """A consumer's connection has failed; whether this tells of it. From any thread."""
        self._failures.append((queue, str(error)))
        self._wanted.set()
        return not self._ended.is_set()

    def _watch(self) -> None:
        lost = False
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ended.is_set():
                return
            failures = [self._failures.popleft() for _ in range(len(self._failures))]
            try:
                self._lane.ping()
            except BrokerError:  # the lane has logged it
                lost = True
                self._ended.wait(TRY_AGAIN_S)
                self._wanted.set()
                continue
            if not lost:  # else they are of the time before the broker was back
                self._tell(failures)
            lost = False

    def _tell(self, failures: list[tuple[str, str]]) -> None:
        now_s = self._clock()
        self._told_s = {each: told_s for each, told_s in self._told_s.items() if now_s - told_s < FORGET_S}
        for queue, problem in failures:
            if (queue, problem) not in self._told_s:
                emit(logger, FETCH_FAILED, level=logging.ERROR, queue=queue, problem=problem)
            self._told_s[queue, problem] = now_s
