"""The brokers that are compared, each with what a probe must ask of its server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, assert_never
from uuid import uuid4

import dramatiq
import pika  # type: ignore[import-untyped]  # pika ships no marker of its types
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO
from redis.backoff import NoBackoff
from redis.retry import Retry

from weighbridge.lanes.queue import connect
from weighbridge.lanes.queue.dead_letters import DeadLetters

RABBITMQ_URL = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")


class Kind(StrEnum):
    """A broker, by the words that head its column."""

    STREAMS = "weighbridge on Redis"
    STOCK_REDIS = "Dramatiq's RedisBroker"
    RABBITMQ = "RabbitMQ"


class Standing:
    """One broker, with a queue and a namespace of its own, on a server that runs."""

    def __init__(self, kind: Kind, *, redis_url: str) -> None:
        self.kind = kind
        self.redis_url = redis_url
        self.queue = f"promise-{uuid4().hex}"
        self.client = redis.Redis.from_url(redis_url)

    def broker(self) -> dramatiq.Broker:
        match self.kind:
            case Kind.STREAMS:
                return connect(self.redis_url, namespace=self.queue, timeout_s=5)
            case Kind.STOCK_REDIS:
                client = redis.Redis.from_url(self.redis_url, socket_timeout=5, retry=Retry(NoBackoff(), 0))
                broker: dramatiq.Broker = RedisBroker(client=client, namespace=self.queue)  # type: ignore[no-untyped-call]  # Dramatiq does not type it
                broker.add_middleware(AsyncIO())
                return broker
            case Kind.RABBITMQ:
                return connect(RABBITMQ_URL, namespace="unused", timeout_s=5)
            case _ as never:
                assert_never(never)

    def module(self) -> str:
        """Lines of a module that make the same dispatcher in a worker process."""
        match self.kind:
            case Kind.STREAMS:
                return f"dispatcher = Dispatcher(broker_url={self.redis_url!r}, namespace={self.queue!r})"
            case Kind.STOCK_REDIS:
                return (
                    "import redis\nfrom dramatiq.brokers.redis import RedisBroker\n"
                    f"broker = RedisBroker(client=redis.Redis.from_url({self.redis_url!r}), namespace={self.queue!r})\n"
                    "dispatcher = Dispatcher(broker=broker)"
                )
            case Kind.RABBITMQ:
                return f"dispatcher = Dispatcher(broker_url={RABBITMQ_URL!r})"
            case _ as never:
                assert_never(never)

    def waiting(self) -> int:
        """Messages in the queue, with no worker about."""
        match self.kind:
            case Kind.STREAMS:
                return int(self.client.xlen(f"{self.queue}:{{{self.queue}}}:stream"))
            case Kind.STOCK_REDIS:
                return int(self.client.llen(f"{self.queue}:{self.queue}"))
            case Kind.RABBITMQ:
                with self._channel() as channel:
                    return int(channel.queue_declare(self.queue, passive=True).method.message_count)
            case _ as never:
                assert_never(never)

    def dead_letters(self) -> list[str]:
        """What is kept of each dead letter, all that an operator can read of it in one text."""
        match self.kind:
            case Kind.STREAMS:
                return [f"{letter.error} {letter.body!r}" for letter in DeadLetters(self.client, self.queue).list()]
            case Kind.STOCK_REDIS:
                bodies: Any = self.client.hvals(f"{self.queue}:{self.queue}.XQ.msgs")
                return [bytes(body).decode() for body in bodies]
            case Kind.RABBITMQ:
                with self._channel() as channel:
                    _, _, body = channel.basic_get(f"{self.queue}.XQ")
                    return [] if body is None else [bytes(body).decode()]
            case _ as never:
                assert_never(never)

    def clear(self) -> None:
        for key in self.client.scan_iter(f"{self.queue}*"):
            self.client.delete(key)
        self.client.close()
        if self.kind is Kind.RABBITMQ:
            with self._channel() as channel:
                for name in (self.queue, f"{self.queue}.DQ", f"{self.queue}.XQ"):
                    channel.queue_delete(name)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(pika.URLParameters(RABBITMQ_URL))
        try:
            yield connection.channel()
        finally:
            connection.close()
