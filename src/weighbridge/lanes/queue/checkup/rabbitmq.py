"""What breaks a promise where RabbitMQ keeps the queues: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from weighbridge.lanes.queue.checkup.finding import Finding, error, ok, unknown, warning

#: Seconds after which RabbitMQ takes a message back from a consumer that has not ended it, unless it is told otherwise
#: (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout).
CONSUMER_TIMEOUT_S: Final = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitmqFacts:
    """What can be known by AMQP. ``blocked``: the server takes no messages (``None``: it was not asked).

    ``longest_run_s`` is the longest time limit among the tasks.
    """

    local: bool
    tls: bool
    blocked: bool | None = None
    longest_run_s: float | None = None


def rabbitmq_findings(facts: RabbitmqFacts) -> tuple[Finding, ...]:
    """All findings, in the order of what matters most."""
    return tuple(_findings(facts))


def _findings(facts: RabbitmqFacts) -> Iterator[Finding]:
    # A broker that asks for none is refused before it comes here.
    yield ok("confirms", "each message is confirmed before its request is answered")
    if facts.blocked:
        text = "an alarm for memory or disk is on: every queued call is refused"
        yield error("alarm", text, remedy="see rabbitmq-diagnostics alarms; free memory or disk")
    elif facts.blocked is False:
        yield ok("alarm", "it takes messages: no alarm is on")
    if facts.longest_run_s is not None and facts.longest_run_s > CONSUMER_TIMEOUT_S:
        text = (
            f"a task may run for {facts.longest_run_s:,.0f} s, and after its consumer_timeout "
            f"({CONSUMER_TIMEOUT_S:,.0f} s by default) RabbitMQ gives its call to another worker"
        )
        remedy = "set consumer_timeout in rabbitmq.conf above the longest time_limit_s"
        yield warning("consumer timeout", text, remedy=remedy)
    else:
        text = f"consumer_timeout cannot be read by AMQP; every task must end within it ({CONSUMER_TIMEOUT_S:,.0f} s)"
        yield unknown("consumer timeout", text, remedy="see rabbitmqctl environment")
    if not facts.local and not facts.tls:
        text = "no TLS to another host: the network sees calls and passwords"
        yield warning("tls", text, remedy="use amqps://, unless the network is yours alone")
