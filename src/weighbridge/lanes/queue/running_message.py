"""The message whose call runs here, for ``current_call()`` and for log records."""

from __future__ import annotations

import threading
from typing import Any

import dramatiq
from dramatiq.middleware import CurrentMessage

from weighbridge.decision import Lane
from weighbridge.lanes.queue.message_options import POLICY_REVISION
from weighbridge.lanes.queue.stream_message import attempt_of
from weighbridge.policy.revision import is_revision
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
    return running(_call_of(message))


class RunningMessage(dramatiq.Middleware):
    """Lets what Dramatiq logs of a message know its call: that it failed, that it is retried, and why it is skipped."""

    def __init__(self) -> None:
        self._thread = threading.local()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """The message is about to run on this thread; if it is of a task, it is the current call from now on."""
        actor = broker.actors.get(message.actor_name)
        self._thread.run = run = running(
            _call_of(message) if isinstance(getattr(actor, "spec", None), TaskSpec) else None
        )
        run.__enter__()

    def after_process_message(
        self,
        broker: dramatiq.Broker,  # noqa: ARG002  # Dramatiq's signature
        message: dramatiq.MessageProxy,  # noqa: ARG002  # as above
        *,
        result: Any = None,  # noqa: ARG002  # as above
        exception: BaseException | None = None,  # noqa: ARG002  # as above
    ) -> None:
        """It is no longer the current call."""
        run: running | None = self._thread.__dict__.pop("run", None)
        if run is not None:
            run.__exit__()

    after_skip_message = after_process_message


def _call_of(message: dramatiq.Message[Any] | dramatiq.MessageProxy) -> CurrentCall:
    revision = message.options.get(POLICY_REVISION)
    return CurrentCall(
        message.message_id,
        message.actor_name,
        attempt_of(message) + 1,
        Lane.QUEUE,
        revision if is_revision(revision) else "",  # a broker of the user's own lets every option pass
    )


def let_messages_be_found(broker: dramatiq.Broker) -> None:
    """Make sure that a worker's broker has the middleware which tells each run, and each log record, its message."""
    if not any(isinstance(each, CurrentMessage) for each in broker.middleware):
        broker.add_middleware(CurrentMessage())
    if not any(isinstance(each, RunningMessage) for each in broker.middleware):
        # First, so that it ends last: the middleware for retries logs what it does.
        first = type(broker.middleware[0])
        broker.add_middleware(RunningMessage(), before=first)
