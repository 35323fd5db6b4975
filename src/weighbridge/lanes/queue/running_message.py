"""The message whose call runs here, for ``current_call()``."""

from __future__ import annotations

import dramatiq
from dramatiq.middleware import CurrentMessage

from weighbridge.decision import Lane
from weighbridge.lanes.queue.stream_message import attempt_of
from weighbridge.run import CurrentCall, running
from weighbridge.task import TaskSpec


def running_message(spec: TaskSpec) -> running:
    """Let ``current_call()`` tell of the message that Dramatiq's middleware ``CurrentMessage`` gives to this run.

    Dramatiq's event loop runs an async task in a copy of its thread's context, so it is found there too. Without a
    message, as where somebody calls the actor, nothing is told.
    """
    message = CurrentMessage.get_current_message()
    if message is None or message.actor_name != spec.name:
        return running(None)
    return running(CurrentCall(id=message.message_id, task=spec.name, attempt=attempt_of(message) + 1, lane=Lane.QUEUE))


def let_messages_be_found(broker: dramatiq.Broker) -> None:
    """Make sure that a worker's broker has the middleware which tells each run its message."""
    if not any(isinstance(each, CurrentMessage) for each in broker.middleware):
        broker.add_middleware(CurrentMessage())
