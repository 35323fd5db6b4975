"""A script stops at a command that the server refuses, and what it has done by then stands: nothing may be lost so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dramatiq
import pytest
import redis
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Retries

from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue.dead_letters import DeadLetters
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.streams import StreamsBroker

KEYS = QueueKeys(namespace="weighbridge", queue="default")


def eventually(condition: Callable[[], object], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def failing_task(url: str, *, max_retries: int) -> Iterator[list[float]]:
    """A worker as user ``worker``, and the times at which its failing task ran."""
    client = redis.Redis.from_url(url, username="worker", password="any")
    retries = Retries(max_retries=max_retries, min_backoff=1, max_backoff=2)
    broker = StreamsBroker(client=client, middleware=[retries], lease_s=1)
    runs: list[float] = []

    def fail() -> None:
        runs.append(time.monotonic())
        raise RuntimeError("the printer burns")

    dramatiq.actor(broker=broker, actor_name="fail")(fail).send()
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        yield runs
    finally:
        worker.stop(timeout=5_000)
        broker.close()


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start() as started:
        yield started


def forbid(client: redis.Redis, *commands: str) -> None:
    client.acl_setuser(
        "worker",
        enabled=True,
        nopass=True,
        keys=["*"],
        channels=["*"],
        commands=["+@all", *(f"-{c}" for c in commands)],
    )


@pytest.mark.parametrize("command", ["zadd", "hset"])
def test_a_retry_or_dead_letter_that_the_server_refuses_keeps_its_message_in_the_queue(
    server: EmbeddedServer, command: str
) -> None:
    root = redis.Redis.from_url(server.url)
    forbid(root, command)
    with failing_task(server.url, max_retries=0 if command == "hset" else 1) as runs:
        eventually(lambda: runs)
        time.sleep(0.3)  # its end is refused meanwhile
        assert root.xlen(KEYS.stream) == 1
        forbid(root)
        eventually(lambda: root.xlen(KEYS.stream) == 0 and DeadLetters(root, "weighbridge").list())


def test_a_delayed_message_that_cannot_be_taken_out_is_not_put_in_again_and_again(server: EmbeddedServer) -> None:
    root = redis.Redis.from_url(server.url)
    forbid(root, "zrem")
    with failing_task(server.url, max_retries=1) as runs:
        eventually(lambda: root.zcard(KEYS.delayed) == 1)
        time.sleep(0.5)  # it is due, and its promotion is refused meanwhile
        assert len(runs) == 1
        forbid(root)
        eventually(lambda: len(runs) == 2)


def test_a_delayed_message_is_not_lost_where_nothing_can_be_written(server: EmbeddedServer) -> None:
    root = redis.Redis.from_url(server.url)
    forbid(root, "xadd", "zadd")
    client = redis.Redis.from_url(server.url, username="worker", password="any")
    queue = StreamsBroker(client=client, middleware=[])._queue("default")
    root.zadd(KEYS.delayed, {"body": 1})

    with pytest.raises(redis.ResponseError, match="can't run this command"):
        queue.promote()

    assert root.zrange(KEYS.delayed, 0, -1, withscores=True) == [(b"body", 1)]
    client.close()


def test_an_end_that_the_server_refuses_is_logged_once(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    root = redis.Redis.from_url(server.url)
    forbid(root, "hset")
    client = redis.Redis.from_url(server.url, username="worker", password="any")
    broker = StreamsBroker(client=client, middleware=[])
    dramatiq.actor(broker=broker, actor_name="f")(lambda: None)
    consumer = broker.consume("default", timeout=10_000)
    broker.enqueue(dramatiq.Message[None](queue_name="default", actor_name="f", args=(), kwargs={}, options={}))
    message = next(consumer)
    assert message is not None

    for _ in range(3):
        with pytest.raises(ConnectionClosed, match="can't run this command"):
            consumer.nack(message)

    [record] = [each for each in caplog.records if getattr(each, "event", None) == "queue.end_refused"]
    assert record.levelname == "ERROR"
    assert "can't run this command" in record.getMessage()
    assert DeadLetters(root, "weighbridge").list() == ()
    consumer.close()
    broker.close()
    client.close()
