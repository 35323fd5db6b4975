"""The calls that run in this worker process at this moment: named when one is cut off, shown to the supervisor."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import dramatiq
from dramatiq.middleware import Middleware

from weighbridge.lanes.queue.middleware import TIME_LIMIT_MS
from weighbridge.lanes.queue.stream_message import StreamMessage
from weighbridge.worker.running_table import RunningCall, RunningTable

#: What stands for a thread that has no slot: more threads than the process was told to start.
_NO_SLOT: Final = -1


class RunningCalls(Middleware):
    """A Dramatiq middleware that knows the running calls, and writes those of a broker of ours into the table."""

    def __init__(self, table: RunningTable) -> None:
        # Each thread sets and removes its own keys only, and single operations on a dict are atomic.
        self._names: dict[str, str] = {}
        self._slots: dict[int, int] = {}
        self._free = list(range(table.slots))
        self._table = table

    def names(self) -> dict[str, str]:
        """The running tasks' names by call id."""
        return dict(self._names)

    def stop(self) -> None:
        """The process was asked to stop."""
        self._table.stop()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """A call starts."""
        self._names[message.message_id] = message.actor_name
        if not isinstance(message, StreamMessage):
            return
        slot = self._slot()
        if slot == _NO_SLOT:
            return
        actor = broker.actors.get(message.actor_name)
        limit_ms = message.options.get("time_limit") or (actor and actor.options.get("time_limit")) or TIME_LIMIT_MS
        self._table.write(
            slot,
            RunningCall(
                queue=message.queue_name,
                entry_id=message.entry_id,
                task=message.actor_name,
                call_id=message.message_id,
                started_s=time.monotonic(),
                limit_s=limit_ms / 1000,
            ),
        )

    def after_process_message(
        self,
        broker: dramatiq.Broker,  # noqa: ARG002  # the signature is Dramatiq's
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,  # noqa: ARG002
        exception: BaseException | None = None,  # noqa: ARG002
    ) -> None:
        """A call has ended, whichever way."""
        self._ended(message)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:  # noqa: ARG002
        """A call was skipped by another middleware."""
        self._ended(message)

    def _ended(self, message: dramatiq.MessageProxy) -> None:
        self._names.pop(message.message_id, None)
        slot = self._slots.get(threading.get_ident(), _NO_SLOT)
        if slot != _NO_SLOT:
            self._table.clear(slot)

    def _slot(self) -> int:
        """This thread's, for as long as it lives: each runs one call at a time."""
        thread = threading.get_ident()
        slot = self._slots.get(thread)
        if slot is None:
            slot = self._slots[thread] = self._free.pop() if self._free else _NO_SLOT
        return slot
