"""The register of live workers: what each worker process says of itself on the server, for as long as it lives.

A record ends with its time to live, which runs on the server's clock, so a process that was killed vanishes by itself.
The index only says where to look; what counts is the record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self, cast

import redis

from weighbridge.lanes.queue.fingerprint import Fingerprint
from weighbridge.lanes.queue.keys import worker_index_key, worker_key

#: Seconds that a record outlives the last word of its process. An idle process may cost the server two commands a
#: second for a queue, of which its readers and its keeper take 1.9; what is left allows one every 20 s.
RECORD_TTL_S: Final = 60.0
#: Seconds for which the index remembers a process, and after which it is written anew.
INDEX_TTL_S: Final = 1_800.0
INDEX_EVERY_S: Final = 600.0
#: The one field that is not written: the server tells it.
_SEEN: Final = "silent_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """One worker process. ``started_s`` is a time of the server's clock in seconds since 1970; no secret is in it.

    ``versions`` of what decides how messages are read: weighbridge, Python, Dramatiq and pydantic. ``tasks`` are the
    plain fingerprints of the tasks that it runs. ``silent_s``: the seconds since its last word, when it was looked for;
    a living process gives one every 20 s.
    """

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    threads: int
    started_s: float
    versions: Mapping[str, str]
    tasks: Mapping[str, Mapping[str, Any]]
    silent_s: float = 0.0

    def fingerprint(self, task: str) -> Fingerprint | None:
        """The task as this process knows it; ``None`` if it does not."""
        plain = self.tasks.get(task)
        return None if plain is None else Fingerprint.from_plain(task, plain)

    def to_json(self) -> str:
        """The record as it stands on the server."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != _SEEN}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self | None:
        """The record that :meth:`to_json` wrote; ``None`` for what another version of weighbridge means by it."""
        try:
            plain = json.loads(text)
            fields = {name: plain[name] for name in cls.__dataclass_fields__ if name != _SEEN}
            return cls(**{**fields, "queues": tuple(fields["queues"])})
        except (ValueError, KeyError, TypeError):
            return None


class Register:
    """The register of one namespace. Its methods block, and raise redis-py's errors."""

    def __init__(self, client: redis.Redis, namespace: str, *, ttl_s: float = RECORD_TTL_S) -> None:
        self._client = client
        self._namespace = namespace
        self._ttl_ms = int(ttl_s * 1000)

    def now_s(self) -> float:
        """The server's clock."""
        seconds, microseconds = self._client.time()
        return float(seconds) + float(microseconds) / 1e6

    def enter(self, record: WorkerRecord) -> None:
        """Write a record, and put it into the index, from which those that were not renewed for long are taken."""
        now_s = self.now_s()
        index = worker_index_key(self._namespace)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(worker_key(self._namespace, record.id), record.to_json(), px=self._ttl_ms)
        pipeline.zadd(index, {record.id: now_s})
        pipeline.zremrangebyscore(index, "-inf", now_s - INDEX_TTL_S)
        pipeline.expire(index, int(INDEX_TTL_S))
        pipeline.execute()

    def renew(self, worker_id: str) -> bool:
        """Let a record live on, by one command; ``False`` if it is gone, and has to be entered again."""
        return bool(self._client.pexpire(worker_key(self._namespace, worker_id), self._ttl_ms))

    def leave(self, worker_id: str) -> None:
        """Take a record away."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.delete(worker_key(self._namespace, worker_id))
        pipeline.zrem(worker_index_key(self._namespace), worker_id)
        pipeline.execute()

    def live(self) -> tuple[WorkerRecord, ...]:
        """The records of all live worker processes, by host and process id. Changes nothing."""
        ids = cast("Sequence[bytes]", self._client.zrange(worker_index_key(self._namespace), 0, -1))
        if not ids:
            return ()
        keys = [worker_key(self._namespace, each.decode()) for each in ids]
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)
        replies: list[Any] = pipeline.execute()
        records = [
            replace(record, silent_s=max(0.0, (self._ttl_ms - left_ms) / 1000))
            for text, left_ms in zip(replies[::2], replies[1::2], strict=True)
            if text is not None and (record := WorkerRecord.from_json(text)) is not None
        ]
        return tuple(sorted(records, key=lambda each: (each.host, each.pid)))
