"""The state of each queue: what waits, is delayed, is held by workers, has died; and how old the oldest is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from weighbridge.lanes.queue.keys import GROUP, ORPHANS, QueueKeys, queues_key
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.stream_queue import StreamQueue

DAY_MS: Final = 86_400_000
#: Entries that are looked at for the oldest call: one may only wake a reader.
LOOKED_AT: Final = 3
#: Calls of dead workers that are counted: far more than all workers together hold.
MOST_ORPHANS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One queue; ``None``: the broker cannot tell.

    ``oldest_s``: seconds for which the oldest waiting call could be fetched. ``dead_soon``: dead letters that are
    deleted by their age within a day. ``consumers``: who reads it, where a broker knows that instead of workers.
    """

    name: str
    waiting: int | None = None
    oldest_s: float | None = None
    delayed: int | None = None
    held: int | None = None
    dead: int | None = None
    dead_soon: int | None = None
    consumers: int | None = None


def read_queues(
    client: redis.Redis, namespace: str, *, declared: Iterable[str], dead_ttl_s: float
) -> tuple[QueueState, ...]:
    """Every queue that was ever consumed, and those that are declared here. Raises redis-py's errors."""
    known = {name.decode() for name in cast("set[bytes]", client.smembers(queues_key(namespace)))}
    seconds, microseconds = client.time()
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    return tuple(
        _read(client, QueueKeys(namespace=namespace, queue=name), now_ms=now_ms, dead_ttl_ms=int(dead_ttl_s * 1000))
        for name in sorted(known.union(declared))
    )


def _read(client: redis.Redis, keys: QueueKeys, *, now_ms: int, dead_ttl_ms: int) -> QueueState:
    queue = StreamQueue(client=client, scripts=Scripts(client), keys=keys, consumer="")
    oldest_dead = now_ms - dead_ttl_ms
    group = _group(client, keys)
    orphans = _orphans(client, keys) if group.get("pending") else []
    ids = [*orphans[:1], *_first_unread(client, keys, after=group.get("last-delivered-id", b"0-0"))]
    oldest_ms = min((int(entry_id.partition(b"-")[0]) for entry_id in ids), default=None)
    return QueueState(
        name=keys.queue,
        waiting=queue.waiting(),
        oldest_s=None if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000),
        delayed=client.zcount(keys.delayed, f"({now_ms}", "+inf"),
        held=int(group.get("pending", 0)) - len(orphans),
        dead=client.zcount(keys.dead, oldest_dead, "+inf"),
        dead_soon=client.zcount(keys.dead, oldest_dead, oldest_dead + DAY_MS),
    )


def _group(client: redis.Redis, keys: QueueKeys) -> dict[str, Any]:
    try:
        groups = client.xinfo_groups(keys.stream)
    except redis.ResponseError as error:
        if "no such key" in str(error):
            return {}
        raise
    return next((each for each in groups if each["name"] == GROUP.encode()), {})


def _orphans(client: redis.Redis, keys: QueueKeys) -> list[bytes]:
    """The calls of dead workers that anybody may take: they wait, whatever the group says."""
    pending: Any = client.xpending_range(keys.stream, GROUP, "-", "+", MOST_ORPHANS, consumername=ORPHANS)
    return [each["message_id"] for each in pending]


def _first_unread(client: redis.Redis, keys: QueueKeys, *, after: bytes) -> list[bytes]:
    """The first call that no worker has been given, if there is one; an entry's id is the time of its writing."""
    entries: Any = client.xrange(keys.stream, min=f"({after.decode()}", count=LOOKED_AT)
    return [entry_id for entry_id, fields in entries if b"wake" not in fields][:1]
