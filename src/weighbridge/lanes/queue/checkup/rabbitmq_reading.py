"""Reading what AMQP tells of a RabbitMQ server and its queues, on a connection of its own."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, Final, cast

import dramatiq
import pika  # type: ignore[import-untyped]  # pika ships no marker of its types
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name
from pika.exceptions import ChannelClosedByBroker, ConnectionBlockedTimeout  # type: ignore[import-untyped]  # as above

from weighbridge.lanes.queue.checkup.place import is_loopback
from weighbridge.lanes.queue.checkup.queues import QueueState
from weighbridge.lanes.queue.checkup.rabbitmq import RabbitmqFacts
from weighbridge.lanes.queue.checkup.server_reading import EXCHANGES, RoundTrip

NOT_FOUND: Final = 404


def known_without_asking(broker: dramatiq.Broker, *, longest_run_s: float | None = None) -> RabbitmqFacts:
    """What the broker's own settings say; no I/O."""
    rabbitmq = cast("RabbitmqBroker", broker)
    each = _parameters(rabbitmq)
    return RabbitmqFacts(
        local=all(is_loopback(str(one.host)) for one in each),
        tls=all(one.ssl_options is not None for one in each),
        longest_run_s=longest_run_s,
    )


class RabbitmqReading:
    """One connection, for asking. Methods raise pika's errors."""

    def __init__(self, broker: dramatiq.Broker, *, timeout_s: float) -> None:
        several = []
        for one in _parameters(cast("RabbitmqBroker", broker)):
            bounded = copy.copy(one)
            bounded.blocked_connection_timeout = timeout_s
            bounded.socket_timeout = bounded.stack_timeout = timeout_s
            bounded.connection_attempts = 1
            several.append(bounded)
        self._connection: Any = pika.BlockingConnection(several)
        self.blocked: bool | None = None

    def measure(self) -> RoundTrip | None:
        """Exchanges over a queue that only this connection has; ``None`` if the server takes no messages."""
        channel = self._connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        read_ms = _median_ms(lambda: channel.queue_declare(queue, passive=True))
        try:
            write_ms = _median_ms(lambda: channel.basic_publish("", queue, b""))
        except ConnectionBlockedTimeout:
            self.blocked = True
            return None
        self.blocked = False
        channel.close()
        return RoundTrip(read_ms=read_ms, write_ms=write_ms)

    def queues(self, names: Iterable[str]) -> tuple[QueueState, ...]:
        """The queues of these names as far as they exist."""
        return tuple(self._queue(name) for name in sorted(names))

    def _queue(self, name: str) -> QueueState:
        waiting, consumers = self._counts(name)
        return QueueState(
            name=name,
            waiting=waiting,
            delayed=self._counts(dq_name(name))[0],
            dead=self._counts(xq_name(name))[0],
            consumers=consumers,
        )

    def _counts(self, name: str) -> tuple[int, int]:
        channel = self._connection.channel()
        try:
            found = channel.queue_declare(name, passive=True).method
        except ChannelClosedByBroker as error:
            if error.reply_code == NOT_FOUND:
                return 0, 0
            raise
        channel.close()
        return int(found.message_count), int(found.consumer_count)

    def close(self) -> None:
        """Close the connection, if the server has not."""
        if self._connection.is_open:
            self._connection.close()


def _parameters(broker: RabbitmqBroker) -> Sequence[Any]:
    parameters: Any = broker.parameters
    return list(parameters) if isinstance(parameters, Sequence) else [parameters]


def _median_ms(step: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(EXCHANGES):
        began_s = time.perf_counter()
        step()
        times.append(time.perf_counter() - began_s)
    return median(times) * 1000
