"""RabbitMQ: a broker with bounded time-outs and confirms, and the writer that looks after its connection."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Final, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from pika.exceptions import AMQPError  # type: ignore[import-untyped]  # pika ships no marker of its types

from weighbridge.errors import BrokerError
from weighbridge.events import emit
from weighbridge.lanes.queue.writer import Item, Writer

logger: Final = logging.getLogger("weighbridge.queue")

NO_BLOCKED_TIMEOUT: Final = "queue.no_blocked_timeout"

#: Seconds to connect, TLS and log-in included. Longer than an enqueue may take: until then calls wait in the
#: publisher, each no longer than its own time-out, and a slow connection is made at all.
CONNECT_TIMEOUT_S: Final = 5.0
#: Seconds between heartbeats; both ends give a connection up after two were missed. RabbitMQ's documentation
#: finds 5 to 20 best (https://www.rabbitmq.com/docs/heartbeats).
HEARTBEAT_S: Final = 20
#: The name of a queue that nobody declares.
PROBE_ROUTE: Final = "weighbridge-probe"


def rabbitmq_broker(broker_url: str, *, timeout_s: float, middleware: list[dramatiq.Middleware]) -> RabbitmqBroker:
    """A broker that waits for RabbitMQ's confirms. What the address itself says (``?heartbeat=…``) is kept.

    :raises ValueError: if the address cannot be read.
    """
    options = {
        "blocked_connection_timeout": timeout_s,
        "connection_attempts": 1,
        "heartbeat": HEARTBEAT_S,
        "retry_delay": 0,
        "socket_timeout": CONNECT_TIMEOUT_S,
        "stack_timeout": CONNECT_TIMEOUT_S,
    }
    urls = [_with_options(url, options) for url in broker_url.split(";")]
    # Without confirms, 28,255 of 33,910 accepted messages were gone after three kills of the server.
    return RabbitmqBroker(url=urls, confirm_delivery=True, middleware=middleware)


def _with_options(url: str, options: dict[str, float]) -> str:
    given = parse_qs(urlsplit(url).query)
    missing = {name: value for name, value in options.items() if name not in given}
    return f"{url}{'&' if '?' in url else '?'}{urlencode(missing)}"


def check_rabbitmq(broker: RabbitmqBroker) -> None:
    """Make sure that a broker of the user's own takes no call for accepted that RabbitMQ has not confirmed.

    :raises BrokerError: if it does not ask for confirms.
    """
    address = _address_of(broker)
    if not broker.confirm_delivery:
        raise BrokerError(
            broker=address,
            problem="it does not ask for confirms, so calls are lost with the server or with a missing queue, and "
            "nobody is told",
            remedy="make it with RabbitmqBroker(…, confirm_delivery=True)",
        )
    if any(each.blocked_connection_timeout is None for each in _parameters_of(broker)):
        emit(
            logger,
            NO_BLOCKED_TIMEOUT,
            level=logging.WARNING,
            broker=address,
            remedy="a RabbitMQ that is short of memory or disk stops the publisher for as long as that lasts; "
            "give it blocked_connection_timeout (seconds): RabbitmqBroker(url='…?blocked_connection_timeout=1')",
        )


def _parameters_of(broker: RabbitmqBroker) -> list[Any]:
    parameters: Any = broker.parameters
    return list(parameters) if isinstance(parameters, Sequence) else [parameters]


def _address_of(broker: RabbitmqBroker) -> str:
    return "rabbitmq " + ", ".join(f"{each.host}:{each.port}" for each in _parameters_of(broker))


def is_rabbitmq(broker: dramatiq.Broker) -> bool:
    """Whether it is Dramatiq's RabbitMQ broker."""
    return isinstance(broker, RabbitmqBroker)


class RabbitmqWriter(Writer):
    """One message after the other on one connection, which is the thread's own, as pika demands.

    Dramatiq repeats an unconfirmed publish up to five times, on a new connection each time, so a lost
    confirm can leave a message twice.
    """

    idle_s: ClassVar[float | None] = 5.0

    def __init__(self, broker: dramatiq.Broker) -> None:
        super().__init__(broker)
        self._rabbitmq = cast("RabbitmqBroker", broker)
        self._connected = False

    @property
    def address(self) -> str:
        """The broker as logs and errors name it, without user and password."""
        return _address_of(self._rabbitmq)

    def keep_alive(self) -> None:
        """Answer RabbitMQ's heartbeats, which pika does only when it is asked to."""
        if not self._connected:
            return
        try:
            self._rabbitmq.connection.process_data_events(time_limit=0)
        except (AMQPError, OSError):
            # RabbitMQ, or something on the way, has closed it. The next write opens another.
            self.close()

    def ping(self) -> None:
        """Open a connection of this thread's own, and close it again."""
        try:
            self._rabbitmq.connection.process_data_events(time_limit=0)
        finally:
            del self._rabbitmq.connection

    def close(self) -> None:
        """Close this thread's connection."""
        self._connected = False
        del self._rabbitmq.connection

    def _reach(self, items: Sequence[Item]) -> None:
        self.keep_alive()
        try:
            for queue in {message.queue_name for message, _ in items}:
                self._rabbitmq.declare_queue(queue, ensure=True)
            # Opens connection and channel, unless a queue that had to be declared has.
            self._connected = self._rabbitmq.channel.is_open
        except Exception:
            self.close()
            raise

    def _probe(self, _queues: Collection[str]) -> None:
        """Publish to no queue: RabbitMQ confirms that too, keeps nothing, and does not confirm while it blocks.

        By the exchange by which messages go, and not one for each queue: what reaches it reaches them.
        """
        self._rabbitmq.channel.basic_publish(exchange="", routing_key=PROBE_ROUTE, body=b"")

    def drop(self) -> None:
        """As :meth:`Writer.drop` says: this thread's connection."""
        self.close()
