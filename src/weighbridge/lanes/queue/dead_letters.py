"""Dead letters: calls that ended without success, kept with the reason until they are requeued, deleted or too old."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, cast

import dramatiq
import redis
from dramatiq.middleware import SkipMessage
from redis.cluster import RedisCluster

from weighbridge.errors import DeadLetterNotFoundError
from weighbridge.lanes.queue.keys import QueueKeys, queues_key
from weighbridge.lanes.queue.message_options import TRACEBACK_LIMIT
from weighbridge.lanes.queue.primary import plain_client
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.stream_message import Entry, OversizedError, StreamMessage, UnreadableError, read_message
from weighbridge.lanes.queue.stream_queue import Letter
from weighbridge.lanes.queue.unknown_task import SINCE

#: Characters of an exception's text that are kept.
ERROR_LIMIT: Final = 1_000
#: Letters that one round trip asks for.
PAGE: Final = 200
#: What Dramatiq's ``Retries`` and ``AgeLimit`` go by, and the wait for a task; a second life starts without them.
_OF_THE_FIRST_LIFE: Final = ("retries", "traceback", "requeue_timestamp", SINCE)


class DeadReason(StrEnum):
    """Why a call became a dead letter. The strings stand on the server, in logs and in commands alike."""

    FAILED = "failed"
    """Its last run raised, and no retry was left (or none was wanted for that exception)."""
    EXPIRED = "expired"
    """It waited longer than its own limit (``expires_s``, Dramatiq's ``max_age``)."""
    SKIPPED = "skipped"
    """A middleware rejected it before it ran."""
    UNKNOWN_TASK = "unknown_task"
    """For five minutes no worker that met it had a task of its name: most often, they are older than the app."""
    UNDECODABLE = "undecodable"
    """It is no message, or one whose counts or levels are out of bounds."""
    TOO_LARGE = "too_large"
    """It is larger than a message with the largest arguments can be, so it was not decoded."""
    CRASHED = "crashed"
    """Each of its runs ended with its worker process, the last one while nothing else ran in that process."""
    WRONG_QUEUE = "wrong_queue"
    """It names another queue than the one in which it lay."""
    OTHER = "other"
    """A worker of a newer version wrote a reason that this one does not know. No worker writes this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter.

    ``id`` is the call's id, the ticket's; for an undecodable one it names the entry. ``attempts`` counts the runs,
    ``died_at_s`` is a time on the server's clock in seconds since 1970, ``body`` the encoded message. The server
    deletes the letter ``kept_for_s`` seconds after it was read. What may hold argument values stays out of ``repr``.
    """

    id: str
    queue: str
    task: str | None
    reason: DeadReason
    error: str = field(repr=False)
    traceback: str | None = field(repr=False)
    attempts: int
    died_at_s: float
    kept_for_s: float = field(compare=False)
    body: bytes = field(repr=False)


class DeadLetters:
    """The dead letters of a namespace. Blocks, and raises redis-py's errors if the server does not answer."""

    def __init__(self, client: redis.Redis | RedisCluster, namespace: str = "weighbridge") -> None:
        self._client = plain_client(client, namespace=namespace)
        self._namespace = namespace
        self._scripts = Scripts(self._client)

    def now_s(self) -> float:
        """The time on the server's clock, in seconds since 1970."""
        seconds, microseconds = self._client.time()
        return float(seconds + microseconds / 1_000_000)

    def get(self, letter_id: str) -> DeadLetter:
        """One dead letter.

        :raises DeadLetterNotFoundError: if there is no such letter.
        """
        return self._find(letter_id)[1]

    def list(self, queue: str | None = None) -> tuple[DeadLetter, ...]:
        """The dead letters of one queue, or of all queues; the latest first."""
        queues = self._queues() if queue is None else [self._keys(queue)]
        found = (letter for keys in queues for letter in self._letters(keys))
        return tuple(sorted(found, key=lambda letter: letter.died_at_s, reverse=True))

    def requeue(self, letter_id: str) -> DeadLetter:
        """Put a call back into its queue, under its id: its retries, and its age, begin anew.

        The letter goes and the message comes in one step. The letter as it was is returned.

        :raises DeadLetterNotFoundError: if there is no such letter.
        """
        keys, letter = self._find(letter_id)
        seconds, microseconds = self._client.time()
        body = _revived(letter, now_ms=seconds * 1000 + microseconds // 1000)
        if not self._scripts.revive([keys.stream, keys.dead, keys.letter(letter_id)], [letter_id, letter.body, body]):
            raise DeadLetterNotFoundError(letter=letter_id)
        return letter

    def delete(self, letter_id: str) -> DeadLetter:
        """Forget a call for good. The letter as it was is returned.

        :raises DeadLetterNotFoundError: if there is no such letter.
        """
        keys, letter = self._find(letter_id)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(keys.letter(letter_id))
        pipeline.zrem(keys.dead, letter_id)
        if not pipeline.execute()[0]:
            raise DeadLetterNotFoundError(letter=letter_id)
        return letter

    def _keys(self, queue: str) -> QueueKeys:
        return QueueKeys(namespace=self._namespace, queue=queue)

    def _queues(self) -> Iterator[QueueKeys]:
        names = cast("set[bytes]", self._client.smembers(queues_key(self._namespace)))
        for name in sorted(names):
            yield self._keys(name.decode())

    def _letters(self, keys: QueueKeys) -> Iterator[DeadLetter]:
        ids = [each.decode() for each in cast("list[bytes]", self._client.zrange(keys.dead, 0, -1))]
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            pipeline = self._client.pipeline(transaction=False)
            for letter_id in page:
                pipeline.hgetall(keys.letter(letter_id))
                pipeline.pttl(keys.letter(letter_id))
            replies = iter(pipeline.execute())
            for letter_id, values, kept_ms in zip(page, replies, replies, strict=True):
                if values:  # a letter ends with its time to live, its line in the index with the next death
                    yield _letter(letter_id, keys.queue, values, kept_ms=kept_ms)

    def _find(self, letter_id: str) -> tuple[QueueKeys, DeadLetter]:
        for keys in self._queues():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hgetall(keys.letter(letter_id))
            pipeline.pttl(keys.letter(letter_id))
            values, kept_ms = pipeline.execute()
            if values:
                return keys, _letter(letter_id, keys.queue, values, kept_ms=kept_ms)
        raise DeadLetterNotFoundError(letter=letter_id)


def letter_for(message: StreamMessage, *, ttl_s: float) -> Letter:
    """The dead letter for a message that a worker rejects."""
    reason = _reason(message)
    cause = message.cause
    trace = message.options.get("traceback")
    if trace is None and cause is not None and reason is DeadReason.FAILED:
        trace = "".join(traceback.format_exception(cause))
    error = "" if cause is None else f"{type(cause).__name__}: {cause}"
    fields: dict[str, str | bytes | int] = {
        "reason": reason,
        "error": _storable(error[:ERROR_LIMIT]),
        "attempts": message.attempt + (reason is DeadReason.FAILED),
        "task": message.actor_name,
        "body": message.body,
    }
    if trace is not None:
        fields["traceback"] = _storable(str(trace)[-TRACEBACK_LIMIT:])
    return Letter(id=message.message_id, fields=fields, ttl_ms=int(ttl_s * 1000))


def crashed_letter(message: StreamMessage, *, crashes: int, ttl_s: float) -> Letter:
    """The dead letter for a message whose runs end their worker process."""
    fields: dict[str, str | bytes | int] = {
        "reason": DeadReason.CRASHED,
        "error": f"its worker process died in {crashes} runs, in the last one while nothing else ran in it",
        "attempts": message.attempt + crashes,
        "task": message.actor_name,
        "body": message.body,
    }
    return Letter(id=message.message_id, fields=fields, ttl_ms=int(ttl_s * 1000))


def undecodable_letter(entry: Entry, error: UnreadableError, *, ttl_s: float) -> Letter:
    """The dead letter for an entry that holds no message."""
    fields: dict[str, str | bytes | int] = {
        "reason": DeadReason.TOO_LARGE if isinstance(error, OversizedError) else DeadReason.UNDECODABLE,
        "error": str(error)[:ERROR_LIMIT],
        "attempts": 0,
        "body": entry.body,
    }
    return Letter(id=f"entry-{entry.id}", fields=fields, ttl_ms=int(ttl_s * 1000))


def unknown_task_letter(message: StreamMessage, *, waited_ms: int, ttl_s: float) -> Letter:
    """The dead letter for a message that has waited long enough for a worker that knows its task."""
    fields: dict[str, str | bytes | int] = {
        "reason": DeadReason.UNKNOWN_TASK,
        "error": f"no worker that met it knew its task, for {waited_ms / 1000:.0f} s; deploy workers before the web "
        "processes, and requeue it",
        "attempts": message.attempt,
        "task": message.actor_name,
        "body": message.body,
    }
    return Letter(id=message.message_id, fields=fields, ttl_ms=int(ttl_s * 1000))


def wrong_queue_letter(message: StreamMessage, *, queue: str, ttl_s: float) -> Letter:
    """The dead letter for a message that names another queue than the one in which it lay."""
    fields: dict[str, str | bytes | int] = {
        "reason": DeadReason.WRONG_QUEUE,
        "error": f"it names queue {message.queue_name!r} and lay in {queue!r}"[:ERROR_LIMIT],
        "attempts": message.attempt,
        "task": message.actor_name,
        "body": message.body,
    }
    return Letter(id=message.message_id, fields=fields, ttl_ms=int(ttl_s * 1000))


def _storable(text: str) -> bytes:
    """Text of an exception may hold half characters (a file's name that is no UTF-8)."""
    return text.encode("utf-8", "backslashreplace")


def _reason(message: StreamMessage) -> DeadReason:
    if isinstance(message.cause, SkipMessage):
        return DeadReason.EXPIRED if message.options.get("max_age") else DeadReason.SKIPPED
    return DeadReason.FAILED


def _known_reason(text: str | None) -> DeadReason:
    try:
        return DeadReason(text or "")
    except ValueError:  # during a deploy there are workers of a newer version, and all letters must be seen
        return DeadReason.OTHER


def _letter(letter_id: str, queue: str, values: Mapping[bytes, bytes], *, kept_ms: int) -> DeadLetter:
    def text(name: bytes) -> str | None:
        value = values.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    return DeadLetter(
        id=letter_id,
        queue=queue,
        task=text(b"task"),
        reason=_known_reason(text(b"reason")),
        error=text(b"error") or "",
        traceback=text(b"traceback"),
        attempts=int(values[b"attempts"]),
        died_at_s=int(values[b"died_ms"]) / 1000,
        kept_for_s=max(0, kept_ms) / 1000,
        body=values[b"body"],
    )


def _revived(letter: DeadLetter, *, now_ms: int) -> bytes:
    """The message as it begins anew. What is no message goes back as it is: a newer worker may read it."""
    try:
        message: dramatiq.Message[Any] = read_message(letter.body)
    except UnreadableError:
        return letter.body
    message = message.copy(queue_name=letter.queue, message_timestamp=now_ms)
    for option in _OF_THE_FIRST_LIFE:
        message.options.pop(option, None)
    return message.encode()
