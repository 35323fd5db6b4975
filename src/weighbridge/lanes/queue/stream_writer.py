"""How messages get into the streams: all of a group in one step of the server, each at most once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import dramatiq

from weighbridge.lanes.queue.keeper import WATCH_S
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.message_options import TRACEBACK_LIMIT
from weighbridge.lanes.queue.replicated_script import ReplicatedScript
from weighbridge.lanes.queue.stream_message import attempt_of
from weighbridge.lanes.queue.stream_queue import Write


class StreamWriter:
    """Writes messages, each with the mark of its attempt, which lives for ``marker_ttl_s`` seconds."""

    def __init__(
        self,
        *,
        script: ReplicatedScript,
        keys_of: Callable[[str], QueueKeys],
        now_ms: Callable[[], int],
        marker_ttl_s: float,
    ) -> None:
        self._script = script
        self._keys_of = keys_of
        self._now_ms = now_ms
        self._head = (int(WATCH_S * 1000), int(marker_ttl_s * 1000))

    def write(self, messages: Sequence[tuple[dramatiq.Message[Any], Write]]) -> None:
        """Write these, all or none. Raises redis-py's errors."""
        if not messages:
            return
        queues: dict[str, int] = {}
        keys: list[str] = []
        marks: list[str] = []
        args: list[str | bytes | int] = []
        for message, write in messages:
            queue_keys = self._keys_of(message.queue_name)
            if queue_keys.queue not in queues:
                queues[queue_keys.queue] = len(queues) + 1
                keys += (queue_keys.stream, queue_keys.delayed, queue_keys.wake)
            marks.append(queue_keys.mark(message.message_id, attempt_of(message)))
            args += (queues[queue_keys.queue], write.delay_ms, write.body)
        self._script([*keys, *marks], [len(queues), *self._head, *args])

    def dated(self, message: dramatiq.Message[Any], *, limited: bool) -> dramatiq.Message[Any]:
        """A new message with an age limit (``limited``: by its actor), made at the same moment by the server's clock.

        A retry has that already. Raises redis-py's errors if the server has to be asked for its time.
        """
        if not (limited or message.options.get("max_age")) or attempt_of(message):
            return message
        age_ms = int(time.time() * 1000) - message.message_timestamp
        return message.copy(message_timestamp=self._now_ms() - age_ms)


def as_written(message: dramatiq.Message[Any]) -> dramatiq.Message[Any]:
    """The message as it is written: no longer traceback than a worker keeps, and without the time at which another
    broker's worker would hold it back until it is due.
    """
    trace = message.options.get("traceback")
    if isinstance(trace, str) and len(trace) > TRACEBACK_LIMIT:
        message = message.copy(options={"traceback": trace[-TRACEBACK_LIMIT:]})
    if "eta" not in message.options:
        return message
    message = message.copy()
    del message.options["eta"]
    return message
