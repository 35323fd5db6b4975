"""One queue on the server, as one worker sees it: each method is one command or one script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import redis

from weighbridge.lanes.queue.exchange import Exchange
from weighbridge.lanes.queue.keys import (
    CRASHES_TTL_S,
    GROUP,
    MARKER_TTL_S,
    ORPHANED_MS,
    ORPHANS,
    QueueKeys,
    queues_key,
)
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.stream_message import Entry

#: Delayed messages that become due in one step of the server.
PROMOTED_AT_ONCE: Final = 200
#: Entries that one command of a page-wise reading asks for.
PAGE: Final = 100
CRASHES_TTL_MS: Final = CRASHES_TTL_S * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A message to write: encoded, and delayed by ``delay_ms`` (0 or less: not at all)."""

    body: bytes = field(repr=False)
    delay_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter to write: its id, its fields, and the milliseconds for which it is kept."""

    id: str
    fields: Mapping[str, str | bytes | int] = field(repr=False)
    ttl_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """How many delayed messages were due, and the next one: its score, and in how many seconds it is due."""

    moved: int
    next_score: str | None
    next_in_s: float | None


class StreamQueue:
    """The commands of one queue. ``consumer`` is this worker's name in the group; methods raise redis-py's errors."""

    def __init__(self, *, client: redis.Redis, scripts: Scripts, keys: QueueKeys, consumer: str) -> None:
        self.keys = keys
        self.name = keys.queue
        self.consumer = consumer
        self._client = client
        self._exchange = Exchange(client)
        self._scripts = scripts
        self._set_keys = [keys.stream, keys.delayed, keys.wake]
        self._end_keys = [keys.stream, keys.crashes]

    def create_group(self) -> None:
        """Make the stream and its group, from the first message on; nothing if they are there."""
        self._client.sadd(queues_key(self.keys.namespace), self.name)
        try:
            self._client.xgroup_create(self.keys.stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def read(self, reader: Exchange, *, count: int, block_s: float) -> list[Entry]:
        """New entries, at most ``count``; waits for one for ``block_s`` seconds (the server rounds up by 0.1 s)."""
        block_ms = max(1, int(block_s * 1000))
        words = ("GROUP", GROUP, self.consumer, "COUNT", count, "BLOCK", block_ms, "STREAMS", self.keys.stream, ">")
        return _entries_of(reader.send("XREADGROUP", *words))

    def unfinished(self) -> list[Entry]:
        """All entries that this consumer holds by the server's account. Renews their leases."""
        found: list[Entry] = []
        last = "0"
        while True:
            page = _entries_of(self._client.xreadgroup(GROUP, self.consumer, {self.keys.stream: last}, count=PAGE))
            if not page:
                return self._with_crashes(found)
            found += page
            last = page[-1].id

    def claim(self, *, count: int, idle_s: float, orphans_only: bool = False) -> list[Entry]:
        """Take over at most ``count`` entries whose lease was not renewed for ``idle_s`` seconds.

        With ``orphans_only``, only those of workers that are known to be dead.
        """
        # Mostly there is none, and a script that finds that out costs the server twice as many commands.
        look: Any = self._client.xpending_range(
            *(self.keys.stream, GROUP, "-", "+", 1),
            consumername=ORPHANS if orphans_only else None,
            idle=int(idle_s * 1000),
        )
        if not look:
            return []
        args: list[str | int] = [
            GROUP,
            self.consumer,
            int(idle_s * 1000),
            count,
            CRASHES_TTL_MS,
            ORPHANS,
            int(orphans_only),
        ]
        reply = self._scripts.claim([self.keys.stream, self.keys.crashes], args)
        return [
            Entry(id=_text(entry_id), fields=_pairs(fields), counted_crashes=int(crashes), condemned=bool(alone))
            for entry_id, fields, crashes, alone in reply
        ]

    def disown(self, crashed: Sequence[str]) -> int:
        """This consumer's process has died: any worker may take its entries at once; how many there were.

        ``crashed`` are those that it was running, and whose crashes are one more from now on.
        """
        keys = [self.keys.stream, self.keys.crashes, self.keys.wake]
        return int(self._scripts.disown(keys, [GROUP, self.consumer, ORPHANS, ORPHANED_MS, CRASHES_TTL_MS, *crashed]))

    def mark_alone(self, entry_id: str) -> bool:
        """This entry is about to run alone in this consumer's process; ``False`` if it is not this consumer's."""
        args: list[str | int] = [GROUP, self.consumer, entry_id, CRASHES_TTL_MS]
        return bool(self._scripts.alone([self.keys.stream, self.keys.crashes], args))

    def finish(self, entry_id: str, *, follow_ups: Sequence[Write] = (), letter: Letter | None = None) -> bool:
        """Take a done entry away, and write what follows from it, in one step.

        ``False`` if this consumer does not hold the entry any more. Then nothing is written; an entry from which
        something would follow is left to whoever holds it, and one from which nothing does is taken away from them.
        """
        if letter is None and not follow_ups:
            return bool(self._exchange.run(self._scripts.end, self._end_keys, (GROUP, self.consumer, entry_id)))
        keys = [*self._set_keys, self.keys.crashes]
        args: list[str | bytes | int] = [GROUP, self.consumer, entry_id, int(MARKER_TTL_S * 1000), len(follow_ups)]
        for number, write in enumerate(follow_ups):
            keys.append(self.keys.follow_up_mark(entry_id, number))
            args += (write.delay_ms, write.body)
        if letter is not None:
            keys += (self.keys.dead, self.keys.letter(letter.id))
            args += (letter.id, letter.ttl_ms)
            for name, value in letter.fields.items():
                args += (name, value)
        return bool(self._scripts.finish(keys, args))

    def renew(self, entry_ids: Sequence[str]) -> list[str]:
        """Renew the leases of these entries; those that are not this consumer's any more are given back."""
        lost: list[str] = []
        for start in range(0, len(entry_ids), PAGE):
            reply = self._scripts.renew([self.keys.stream], [GROUP, self.consumer, *entry_ids[start : start + PAGE]])
            lost += map(_text, cast("list[bytes]", reply))
        return lost

    def requeue(self, entry_ids: Sequence[str]) -> int:
        """Put entries that this consumer holds back at the end of the queue; how many there were."""
        return int(self._scripts.requeue([self.keys.stream, self.keys.crashes], [GROUP, self.consumer, *entry_ids]))

    def delayed_before(self, score: str | None) -> int:
        """How many delayed messages are due before ``score``; ``None``: how many there are."""
        if score is None:
            return self._client.zcard(self.keys.delayed)
        return self._client.zcount(self.keys.delayed, "-inf", f"({score}")

    def promote(self) -> Promotion:
        """Move the messages that are due to where they can be fetched, at most 200."""
        reply = self._scripts.promote(self._set_keys, [PROMOTED_AT_ONCE])
        if len(reply) == 1:
            return Promotion(moved=int(reply[0]), next_score=None, next_in_s=None)
        return Promotion(moved=int(reply[0]), next_score=_text(reply[1]), next_in_s=int(reply[2]) / 1000)

    def waiting(self) -> int:
        """Messages that no worker holds and that could be fetched now."""
        return int(self._scripts.waiting(self._set_keys, [GROUP, ORPHANS]))

    def unsettled(self) -> int:
        """Messages that wait, are delayed, or are held by a worker."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xlen(self.keys.stream)
        pipeline.zcard(self.keys.delayed)
        return sum(pipeline.execute())

    def drop_all(self) -> None:
        """Drop the messages that wait or are delayed; of those that workers hold, only the runs go on."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xtrim(self.keys.stream, maxlen=0, approximate=False)
        pipeline.delete(self.keys.delayed, self.keys.wake, self.keys.crashes)
        pipeline.execute()

    def retire(self, consumer: str | None, *, idle_s: float = 0) -> int:
        """Remove a consumer (``None``: each) that holds nothing and was silent for ``idle_s`` seconds."""
        return int(self._scripts.retire([self.keys.stream], [GROUP, consumer or "", int(idle_s * 1000)]))

    def _with_crashes(self, entries: list[Entry]) -> list[Entry]:
        if not entries:
            return entries
        fields = [field for entry in entries for field in (entry.id, f"alone:{entry.id}")]
        values = cast("list[bytes | None]", self._client.hmget(self.keys.crashes, fields))
        mine = (None, self.consumer.encode())
        return [
            replace(entry, counted_crashes=int(count or 0), condemned=alone not in mine)
            for entry, count, alone in zip(entries, values[::2], values[1::2], strict=True)
        ]


def is_group_missing(error: redis.ResponseError) -> bool:
    """Whether the stream or its group is gone: the server was emptied, or restarted without its data."""
    return str(error).startswith(("NOGROUP", "UNBLOCKED"))


def _entries_of(reply: Any) -> list[Entry]:
    """The entries of an XREADGROUP of one stream. Its shape depends on redis-py's version and on the protocol."""
    streams = list(reply.items()) if isinstance(reply, dict) else list(reply or ())
    if not streams:
        return []
    entries = streams[0][1]
    if entries and isinstance(entries[0], list):
        entries = entries[0]
    return _entries(entries)


def _entries(pairs: Any) -> list[Entry]:
    return [Entry(id=_text(entry_id), fields=fields or {}) for entry_id, fields in pairs if entry_id is not None]


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
