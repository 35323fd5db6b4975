"""How a worker's log lines reach a terminal, unless the service configures logging itself; and what they keep back."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Final

import dramatiq
import dramatiq.worker
from dramatiq.errors import BrokerConnectionError, DecodeError

FORMAT: Final = "%(asctime)s %(levelname)-8s [%(process)d] %(message)s"
HIDDEN: Final = "(not logged)"
#: Where Dramatiq's actors log from.
ACTOR_FILE: Final = inspect.getfile(dramatiq.Actor)
#: The loggers of Dramatiq's that tell of a body which cannot be decoded, and quote it.
DECODING: Final = ("dramatiq.brokers.rabbitmq._RabbitmqConsumer",)


def log_to_stderr() -> None:
    """Write log lines of level INFO and above to stderr, if nobody has configured logging in this process.

    Dramatiq's own lines are kept from WARNING on: what it says below that, our events say too. Pika writes dozens of
    lines for each connection, and a failed one is logged by Dramatiq and by us.
    """
    if logging.getLogger().handlers:
        return
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    logging.getLogger("dramatiq").setLevel(logging.WARNING)
    logging.getLogger("pika").setLevel(logging.CRITICAL)


class HiddenArguments(logging.Filter):
    """Lets every record pass, and takes the argument values out of what Dramatiq logs.

    A message becomes its task and its id, and the arguments that an actor says it has received a fixed text. A body
    that cannot be decoded stands in the exception's text, so of that exception only the kind is kept.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, for every handler that gets it after this."""
        if isinstance(record.args, tuple):
            by_actor = record.pathname == ACTOR_FILE
            record.args = tuple(_without_values(each, by_actor=by_actor) for each in record.args)
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, DecodeError):
            record.exc_info = None
            record.msg = f"{record.msg} ({type(error.error).__name__})"
        return True


def hide_arguments(broker: dramatiq.Broker) -> None:
    """Keep argument values out of the log lines of Dramatiq's workers and of the broker's actors.

    The filters stand on the loggers, not on handlers, so they work however a service configures logging.
    """
    queues = broker.get_declared_queues() | broker.get_declared_delay_queues()
    threads = ["WorkerThread", *(f"ConsumerThread({queue})" for queue in queues)]
    loggers = [logging.getLogger(f"{dramatiq.worker.__name__}.{thread}") for thread in threads]
    loggers += [logging.getLogger(name) for name in DECODING]
    loggers += [actor.logger for actor in broker.actors.values()]
    for logger in loggers:
        if not any(isinstance(each, HiddenArguments) for each in logger.filters):
            logger.addFilter(HiddenArguments())


class ConsumerFailures(logging.Filter):
    """Takes away what Dramatiq's consumer of one queue logs of a failed connection, every three seconds anew.

    ``on_failure`` gets the queue and the error instead, on the consumer's thread, and says whether it tells of it.
    """

    def __init__(self, queue: str, *, on_failure: Callable[[str, BaseException], bool]) -> None:
        super().__init__()
        self._queue = queue
        self._on_failure = on_failure

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        error = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if record.levelno < logging.CRITICAL or not isinstance(error, BrokerConnectionError):
            return True
        return not self._on_failure(self._queue, error)


def take_over_consumer_failures(broker: dramatiq.Broker, on_failure: Callable[[str, BaseException], bool]) -> None:
    """Hand the failed connections of the consumers to ``on_failure``, however a service configures logging."""
    for queue in broker.get_declared_queues() | broker.get_declared_delay_queues():
        logger = logging.getLogger(f"{dramatiq.worker.__name__}.ConsumerThread({queue})")
        logger.addFilter(ConsumerFailures(queue, on_failure=on_failure))


def _without_values(value: object, *, by_actor: bool) -> object:
    if isinstance(value, dramatiq.Message | dramatiq.MessageProxy):
        return f"{value.actor_name} ({value.message_id})"
    return HIDDEN if by_actor and isinstance(value, tuple | dict) else value
