"""The two sides of a trial: weighbridge, and plain Dramatiq at its stock settings."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final, cast

import dramatiq
import redis
from dramatiq.errors import DecodeError
from tests.faults.account import Holdings
from tests.faults.proxy import Matches
from tests.faults.server import KeepingServer

from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.scripts import Scripts

QUEUE: Final = "default"
#: Bytes above which the body of a dead letter is not looked into: no call of a load has as many.
BODY_LIMIT: Final = 100_000


class Exchange(StrEnum):
    """An exchange with the broker whose reply a proxy can eat."""

    ENQUEUE = "enqueue"
    FETCH = "fetch"
    END = "end"
    """The end of a run: its acknowledgement, and the retry of a failed one."""


class Side(ABC):
    """How one side is started, and where it keeps its calls."""

    name: ClassVar[str]
    module: ClassVar[str]

    @abstractmethod
    def worker_command(self, *, processes: int, threads: int) -> list[str]:
        """The command line of the worker."""

    @abstractmethod
    def environment(self, server: KeepingServer, *, port: int, lease_s: float) -> dict[str, str]:
        """The variables of service and worker, which reach the server through a proxy's ``port``."""

    @abstractmethod
    def holdings(self, client: redis.Redis) -> Holdings:
        """What the server holds."""

    @abstractmethod
    def reasons(self, client: redis.Redis) -> Counter[str]:
        """The reasons of all dead letters, those of no call of a trial too."""

    @abstractmethod
    def left(self, client: redis.Redis) -> int:
        """How many messages wait or are held."""

    @abstractmethod
    def matches(self, exchange: Exchange) -> Matches:
        """Which commands are this exchange."""

    @abstractmethod
    def plant(self, client: redis.Redis, body: bytes, *, number: int) -> None:
        """Put a body into the queue as if it had been enqueued."""


class Ours(Side):
    """weighbridge."""

    name = "weighbridge"
    module = "tests.faults.ours"
    namespace = "faults"

    def worker_command(self, *, processes: int, threads: int) -> list[str]:
        options = ["--processes", str(processes), "--threads", str(threads)]
        return [sys.executable, "-m", "weighbridge", "worker", self.module, *options]

    def environment(self, server: KeepingServer, *, port: int, lease_s: float) -> dict[str, str]:
        return {
            "FAULTS_BROKER_URL": server.url(port),
            "FAULTS_NAMESPACE": self.namespace,
            "FAULTS_LEASE_S": str(lease_s),
        }

    def holdings(self, client: redis.Redis) -> Holdings:
        keys = QueueKeys(namespace=self.namespace, queue=QUEUE)
        # One step for both, or a call that becomes due between two looks would be seen twice or not at all.
        pipeline = client.pipeline(transaction=True)
        pipeline.xrange(keys.stream)
        pipeline.zrange(keys.delayed, 0, -1)
        entries, delayed = pipeline.execute()
        bodies = [fields[b"m"] for _, fields in entries if b"m" in fields]
        dead: dict[str, str] = {}
        for letter_id, reason, body in _letters(client, keys):
            dead[_call_of(body) or letter_id] = reason
        return Holdings(present=Counter(_calls_of([*bodies, *delayed])), dead=dead)

    def left(self, client: redis.Redis) -> int:
        return client.xlen(QueueKeys(namespace=self.namespace, queue=QUEUE).stream)

    def reasons(self, client: redis.Redis) -> Counter[str]:
        return Counter(reason for _, reason, _ in _letters(client, QueueKeys(namespace=self.namespace, queue=QUEUE)))

    def matches(self, exchange: Exchange) -> Matches:
        scripts = Scripts(redis.Redis())  # made to know the names of the scripts; nothing is sent
        match exchange:
            case Exchange.ENQUEUE:
                return _runs_script(scripts.enqueue.sha)
            case Exchange.END:
                return _runs_script(scripts.finish.sha, scripts.end.sha)
            case Exchange.FETCH:
                return lambda words: words[0].upper() == b"XREADGROUP"

    def plant(self, client: redis.Redis, body: bytes, *, number: int) -> None:
        client.xadd(QueueKeys(namespace=self.namespace, queue=QUEUE).stream, {"m": body})


class Stock(Side):
    """Plain Dramatiq: ``RedisBroker``, the ``dramatiq`` command, ``actor.send`` in the endpoint."""

    name = "plain Dramatiq"
    module = "tests.faults.stock"

    def worker_command(self, *, processes: int, threads: int) -> list[str]:
        options = ["--processes", str(processes), "--threads", str(threads)]
        return [sys.executable, "-m", "dramatiq", self.module, *options]

    def environment(self, server: KeepingServer, *, port: int, lease_s: float) -> dict[str, str]:
        return {"FAULTS_BROKER_PORT": str(port), "FAULTS_BROKER_PASSWORD": server.password}

    def holdings(self, client: redis.Redis) -> Holdings:
        pipeline = client.pipeline(transaction=True)
        for suffix in ("", ".DQ", ".XQ"):
            pipeline.hgetall(f"dramatiq:{QUEUE}{suffix}.msgs")
        waiting, delayed, dead = (list(each.values()) for each in pipeline.execute())
        return Holdings(present=Counter(_calls_of([*waiting, *delayed])), dead=dict.fromkeys(_calls_of(dead), "failed"))

    def left(self, client: redis.Redis) -> int:
        return client.hlen(f"dramatiq:{QUEUE}.msgs")

    def reasons(self, client: redis.Redis) -> Counter[str]:
        return Counter({"failed": client.hlen(f"dramatiq:{QUEUE}.XQ.msgs")})

    def matches(self, exchange: Exchange) -> Matches:
        names = {
            Exchange.ENQUEUE: (b"enqueue",),
            Exchange.FETCH: (b"fetch",),
            Exchange.END: (b"ack", b"nack", b"enqueue"),
        }[exchange]
        # Its one script gets the name of what it is to do as its first argument, after one key.
        return lambda words: words[0].upper() == b"EVALSHA" and words[4] in names

    def plant(self, client: redis.Redis, body: bytes, *, number: int) -> None:
        message_id = f"planted-{number}"
        client.hset(f"dramatiq:{QUEUE}.msgs", message_id, cast("Any", body))
        client.rpush(f"dramatiq:{QUEUE}", message_id)


SIDES: Final[tuple[type[Side], ...]] = (Ours, Stock)


def _letters(client: redis.Redis, keys: QueueKeys) -> Iterable[tuple[str, str, bytes]]:
    """Id, reason and body of the dead letters of a queue; a planted body that is huge is left where it is."""
    ids = [each.decode() for each in cast("list[bytes]", client.zrange(keys.dead, 0, -1))]
    pipeline = client.pipeline(transaction=False)
    for letter_id in ids:
        pipeline.hget(keys.letter(letter_id), "reason")
        pipeline.hstrlen(keys.letter(letter_id), "body")
    replies = pipeline.execute()
    for letter_id, reason, size in zip(ids, replies[::2], replies[1::2], strict=True):
        body = client.hget(keys.letter(letter_id), "body") if size < BODY_LIMIT else b""
        if reason is not None:
            yield letter_id, reason.decode(), cast("bytes", body) or b""


def _runs_script(*shas: str) -> Matches:
    def matches(words: Sequence[bytes]) -> bool:
        return words[0].upper() == b"EVALSHA" and words[1].decode() in shas

    return matches


def _calls_of(bodies: Iterable[bytes]) -> list[str]:
    return [call for call in map(_call_of, bodies) if call is not None]


def _call_of(body: bytes) -> str | None:
    """The id under which a trial counts the call of a message: its first argument."""
    try:
        message: dramatiq.Message[Any] = dramatiq.Message.decode(body)
    except DecodeError:
        return None
    arguments = [*message.args, *message.kwargs.values()]
    return arguments[0] if arguments and isinstance(arguments[0], str) else None
