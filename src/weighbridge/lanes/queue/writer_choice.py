"""Which writer a broker gets: the one place that knows all of them."""

from __future__ import annotations

import sys

import dramatiq

from weighbridge.lanes.queue.writer import GroupWriter, Writer


def check_broker(broker: dramatiq.Broker) -> None:
    """Refuse a broker of the user's own that would break what weighbridge promises. It does no I/O.

    :raises BrokerError: if it is a RabbitMQ broker that does not ask for confirms.
    """
    if "dramatiq.brokers.rabbitmq" in sys.modules:  # as below
        from dramatiq.brokers.rabbitmq import RabbitmqBroker  # noqa: PLC0415  # needs pika

        from weighbridge.lanes.queue.rabbitmq import check_rabbitmq  # noqa: PLC0415  # as above

        if isinstance(broker, RabbitmqBroker):
            check_rabbitmq(broker)


def writer_for(broker: dramatiq.Broker) -> Writer:
    """The best writer for this broker. It does no I/O.

    :raises BrokerError: as :func:`check_broker`.
    """
    check_broker(broker)
    enqueue_many = getattr(broker, "enqueue_many", None)
    if callable(enqueue_many):
        return GroupWriter(broker, enqueue_many=enqueue_many)
    if "dramatiq.brokers.rabbitmq" in sys.modules:  # else this broker is none of it, and pika may not be installed
        from weighbridge.lanes.queue.rabbitmq import RabbitmqWriter, is_rabbitmq  # noqa: PLC0415  # needs pika

        if is_rabbitmq(broker):
            return RabbitmqWriter(broker)
    return Writer(broker)
