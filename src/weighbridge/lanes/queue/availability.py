"""Whether the broker takes calls at present: the breaker, its clock, and the log lines when it opens and closes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from weighbridge.events import emit
from weighbridge.lanes.queue.breaker import Breaker, BreakerState
from weighbridge.lanes.queue.failure import Failure

logger: Final = logging.getLogger("weighbridge.queue")

BROKER_LOST: Final = "queue.broker_lost"
BROKER_BACK: Final = "queue.broker_back"

#: Seconds after which a refused client may try again, at least.
RETRY_AFTER_S: Final = 1.0


class Availability:
    """Kept for one opening of a lane; on any thread.

    :param broker: The broker's address as logs name it.
    :param by_ping: Whether an answer to a ping closes the breaker: where nothing is ever written, and only there, since
        a server without memory answers a ping and takes no call.
    """

    def __init__(
        self,
        *,
        broker: str,
        by_ping: bool = False,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        #: Whether calls are refused at once: all that a commit asks.
        self.refuses = False
        self._broker = broker
        self._by_ping = by_ping
        self._clock = clock
        self._jitter = jitter
        self._breaker = Breaker()
        self._answered = False
        self._problem = ""
        self._ended = False
        self._lock = threading.Lock()

    @property
    def state(self) -> BreakerState:
        """The breaker's state."""
        return self._breaker.state

    def known(self) -> bool | None:
        """Whether the breaker is closed; ``None`` before the first exchange with the broker."""
        if self.refuses:
            return False
        return True if self._answered else None

    def wrote(self) -> None:
        """The broker took a write."""
        if self._answered and not self.refuses:
            return  # as nearly always
        with self._lock:
            self._answered = True
            self._become(self._breaker.succeeded(now_s=self._clock()))

    def answered(self) -> None:
        """The broker answered a ping."""
        if self._by_ping:
            self.wrote()
        elif not self.refuses:
            self._answered = True

    def failed(self, failure: Failure) -> None:
        """A write that was not repeated any more, a probe or a ping failed, by the broker's fault."""
        with self._lock:
            self._problem = failure.problem
            self._become(self._breaker.failed(now_s=self._clock(), jitter=self._jitter()))

    def begin_probe(self) -> bool:
        """Whether a probe is due; its caller must make it, and tell how it ended."""
        with self._lock:
            probing = self._breaker.probing(now_s=self._clock())
            begun = probing is not self._breaker
            self._become(probing)
            return begun

    def next_probe_in_s(self) -> float | None:
        """Seconds until a probe is due; ``None``: none will be, as things stand."""
        return self._breaker.next_probe_in_s(now_s=self._clock()) if self.refuses else None

    def refusal(self) -> Failure | None:
        """Why calls are refused without asking the broker, if they are: they are certainly not in the queue."""
        if not self.refuses:
            return None
        return Failure(problem=f"{self._problem}; it is not asked again until a probe succeeds", unknown=False)

    def retry_after_s(self) -> float:
        """Seconds after which a refused client may try again: not before the next probe."""
        return max(RETRY_AFTER_S, self.next_probe_in_s() or 0.0)

    def end(self) -> None:
        """Take no more news: what is under way loses its connection to the closing."""
        with self._lock:
            self._ended = True

    def _become(self, breaker: Breaker) -> None:
        if self._ended:
            return
        self._breaker = breaker
        was, self.refuses = self.refuses, breaker.state is not BreakerState.CLOSED
        if self.refuses and not was:
            emit(logger, BROKER_LOST, level=logging.ERROR, breaker=breaker.state, problem=self._problem)
        elif was and not self.refuses:
            # A warning, though the news is good: where only warnings are shown, the alarm would never end.
            emit(logger, BROKER_BACK, level=logging.WARNING, breaker=breaker.state, broker=self._broker)
