"""The calls that run in this worker process at this moment, so that one that is cut off can be named."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.middleware import Middleware


class RunningCalls(Middleware):
    """A Dramatiq middleware that knows the names of the running calls by their ids."""

    def __init__(self) -> None:
        # Each thread sets and removes its own key only, and single operations on a dict are atomic.
        self._names: dict[str, str] = {}

    def names(self) -> dict[str, str]:
        """The running tasks' names by call id."""
        return dict(self._names)

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:  # noqa: ARG002
        """A call starts."""
        self._names[message.message_id] = message.actor_name

    def after_process_message(
        self,
        broker: dramatiq.Broker,  # noqa: ARG002  # the signature is Dramatiq's
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,  # noqa: ARG002
        exception: BaseException | None = None,  # noqa: ARG002
    ) -> None:
        """A call has ended, whichever way."""
        self._names.pop(message.message_id, None)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:  # noqa: ARG002
        """A call was skipped by another middleware."""
        self._names.pop(message.message_id, None)
