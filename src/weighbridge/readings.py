"""The live readings of an open dispatcher: the lanes' counters, the loop's lag, and the broker if the policy asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from weighbridge.decision import BrokerReading, InProcessReading, LoopReading
from weighbridge.lanes.in_process import InProcessLane
from weighbridge.load.broker_sampler import BrokerSampler
from weighbridge.load.loop_sampler import LoopSampler

if TYPE_CHECKING:
    from weighbridge.lanes.queue import QueueLane  # loads Dramatiq, which a service without a queue never needs

#: The facts that come from a sample of the broker; ``broker`` stands for all its parts. ``broker.available`` is the
#: breaker's state, and read live.
_SAMPLED: Final = frozenset({"broker", "broker.waiting", "broker.age_s"})


class LiveReadings:
    """Answers from memory, on any thread. :meth:`watch` and :meth:`stop` are called one at a time."""

    def __init__(
        self,
        *,
        in_process: InProcessLane,
        queue: QueueLane | None,
        loop: LoopSampler,
        queues: Callable[[], Iterable[str]],
        clock: Callable[[], float],
    ) -> None:
        self._in_process = in_process
        self._queue = queue
        self._queues = queues
        self._clock = clock
        self._loop_sampler = loop
        self._broker_sampler: BrokerSampler | None = None
        self._stopped = False

    def watch(self, reads: frozenset[str] | None) -> None:
        """Sample the broker if a policy that reads these facts (``None``: all) looks at a sample, and only then."""
        if self._queue is not None and not self._stopped and (reads is None or not reads.isdisjoint(_SAMPLED)):
            if self._broker_sampler is None:
                self._broker_sampler = BrokerSampler(
                    waiting=self._queue.waiting_in, queues=self._queues, clock=self._clock
                )
                self._broker_sampler.start()
        elif self._broker_sampler is not None:
            self._broker_sampler.stop()
            self._broker_sampler = None

    def stop(self) -> None:
        """Stop sampling the broker."""
        self._stopped = True
        self.watch(frozenset())

    def in_process(self, *, ahead: int = 0) -> InProcessReading:
        """The in-process lane's counters at this moment; ``ahead`` more calls are about to wait."""
        return self._in_process.reading(ahead=ahead)

    def loop(self) -> LoopReading:
        """The last measured lag of the event loop."""
        return self._loop_sampler.reading()

    def broker(self, queue: str) -> BrokerReading:
        """The last reading of the broker."""
        available = None if self._queue is None else self._queue.available()
        sampler = self._broker_sampler  # once: another thread may stop it meanwhile
        return BrokerReading(available) if sampler is None else sampler.reading(queue, available=available)
