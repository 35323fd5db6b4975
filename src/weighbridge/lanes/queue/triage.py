"""What a worker makes of an entry that it has fetched: a message to run, one that waits, or a dead letter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from weighbridge.lanes.queue.dead_letters import (
    crashed_letter,
    undecodable_letter,
    unknown_task_letter,
    wrong_queue_letter,
)
from weighbridge.lanes.queue.message_options import MessageOptions, UnreadableOptionError
from weighbridge.lanes.queue.stream_message import Entry, StreamMessage, UnreadableError, check_body, read_message
from weighbridge.lanes.queue.stream_queue import Letter, Write
from weighbridge.lanes.queue.unknown_task import PATIENCE_MS, made_ms, postponed, unknown_since_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """A call of a task that this worker does not know: ``write`` puts it back. ``first``: none has met it before."""

    message: StreamMessage
    write: Write
    first: bool


class Triage:
    """Looks at the entries of one queue. No I/O.

    :param knows: Whether this worker has a task of a name.
    """

    def __init__(
        self,
        *,
        queue: str,
        options: MessageOptions,
        knows: Callable[[str], bool],
        body_limit_bytes: int,
        dead_ttl_s: float,
    ) -> None:
        self.dead_ttl_s: Final = dead_ttl_s
        self._queue = queue
        self._options = options
        self._knows = knows
        self._body_limit_bytes = body_limit_bytes

    def look(self, entry: Entry) -> StreamMessage | Postponed | Letter:
        """What is to be done with an entry."""
        try:
            message = self._decoded(entry)
        except UnreadableError as error:
            return undecodable_letter(entry, error, ttl_s=self.dead_ttl_s)
        if message.queue_name != self._queue:
            # Dramatiq's worker looks for the consumer of that queue when the run is over, and would lose a thread.
            return wrong_queue_letter(message, queue=self._queue, ttl_s=self.dead_ttl_s)
        if entry.condemned:
            return crashed_letter(message, crashes=entry.crashes, ttl_s=self.dead_ttl_s)
        if not self._knows(message.actor_name):
            return self._unknown(message)
        self._options.restrain(message)
        return message

    def _decoded(self, entry: Entry) -> StreamMessage:
        check_body(entry.body, limit_bytes=self._body_limit_bytes)
        message = read_message(entry.body)
        try:
            self._options.check(message)
        except UnreadableOptionError as error:
            raise UnreadableError(f"has no usable number in {error}") from error
        return StreamMessage(message, entry=entry)

    def _unknown(self, message: StreamMessage) -> Postponed | Letter:
        now_ms = made_ms(message.entry_id)
        since_ms = unknown_since_ms(message, entry_id=message.entry_id)
        waited_ms = 0 if since_ms is None else now_ms - since_ms
        if waited_ms > PATIENCE_MS:
            return unknown_task_letter(message, waited_ms=waited_ms, ttl_s=self.dead_ttl_s)
        write = postponed(message, since_ms=now_ms - waited_ms)
        return Postponed(message=message, write=write, first=since_ms is None)
