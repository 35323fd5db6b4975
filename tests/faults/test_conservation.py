"""Conservation: whatever workers, replies and delays do, each accepted message is in exactly one place.

A model of where each message is runs beside a real server. After every step the server's own account must be the
model's: no message twice, none gone, and each held one held by the worker that has it.
"""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, ClassVar, Final, cast

import dramatiq
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue.dead_letters import DeadLetters
from weighbridge.lanes.queue.keys import GROUP, QueueKeys
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.stream_consumer import StreamConsumer
from weighbridge.lanes.queue.stream_message import StreamMessage
from weighbridge.lanes.queue.stream_queue import StreamQueue
from weighbridge.lanes.queue.streams import StreamsBroker

TASK: Final = "task"
QUEUE: Final = "default"
WORKERS: Final = 2
PREFETCH: Final = 2
HOUR_MS: Final = 3_600_000
#: Long, so that nothing but the rule that says so makes a lease lapse, however slow the machine.
LEASE_S: Final = 600.0


class Where(StrEnum):
    """Where a message is."""

    QUEUED = "queued"  # in the stream, held by a worker or not
    DELAYED = "delayed"
    DEAD = "dead"
    DONE = "done"


class Worker:
    """One worker process as the server sees it: a broker, a consumer, and what it runs."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self.broker = StreamsBroker(client=client, namespace=namespace, lease_s=LEASE_S)
        dramatiq.actor(broker=self.broker, actor_name=TASK, queue_name=QUEUE)(lambda: None)
        self.running: list[StreamMessage] = []
        self.consumer = self._consume()

    def reconnect(self) -> None:
        """The connection is lost: Dramatiq's worker makes a new consumer, its threads go on with what they have."""
        self.consumer = self._consume()

    def fetch(self) -> None:
        """Take one message, if there is one for this worker."""
        message = next(self.consumer)
        if message is not None:
            assert isinstance(message, StreamMessage)
            self.running.append(message)

    def _consume(self) -> StreamConsumer:
        # The server rounds a short wait up, so an empty fetch costs 100 ms.
        return self.broker.consume(QUEUE, prefetch=PREFETCH, timeout=1)


class Conservation(RuleBasedStateMachine):
    """The rules; ``server`` is set before it runs."""

    server: ClassVar[EmbeddedServer]

    def __init__(self) -> None:
        super().__init__()
        self.namespace = f"conservation-{uuid.uuid4().hex}"
        self.client = redis.Redis.from_url(self.server.url)
        self.keys = QueueKeys(namespace=self.namespace, queue=QUEUE)
        self.letters = DeadLetters(self.client, self.namespace)
        self.queue = StreamQueue(client=self.client, scripts=Scripts(self.client), keys=self.keys, consumer="nobody")
        self.queue.create_group()
        self.producer = StreamsBroker(client=self.client, namespace=self.namespace)
        self.workers = [Worker(self.client, self.namespace) for _ in range(WORKERS)]
        self.places: dict[str, Where] = {}
        self.numbers = itertools.count()

    def teardown(self) -> None:
        for worker in self.workers:
            worker.consumer.close()
            worker.broker.close()
        for key in self.client.scan_iter(f"{self.namespace}:*"):
            self.client.delete(key)
        self.client.close()

    # -- producers ------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3), delayed=st.booleans(), reply_lost=st.booleans())
    def enqueue(self, count: int, delayed: bool, reply_lost: bool) -> None:
        """One write; after a lost reply it is repeated, as the publisher does."""
        messages = [self._message() for _ in range(count)]
        items = [(message, HOUR_MS if delayed else None) for message in messages]
        for _ in range(1 + reply_lost):
            self.producer.enqueue_many(items)
        for message in messages:
            self.places[message.message_id] = Where.DELAYED if delayed else Where.QUEUED

    @precondition(lambda self: Where.DONE in self.places.values())
    @rule(data=st.data())
    def enqueue_again_what_has_run(self, data: st.DataObject) -> None:
        """A repeated write arrives so late that its message has run and is gone."""
        done = [message_id for message_id, where in self.places.items() if where is Where.DONE]
        message_id = data.draw(st.sampled_from(done))
        self.producer.enqueue_many([(self._message(message_id), None)])

    # -- workers --------------------------------------------------------------------------------------------

    @precondition(lambda self: self._waiting())
    @rule(number=st.integers(0, WORKERS - 1))
    def fetch(self, number: int) -> None:
        """A worker takes a message."""
        if len(self.workers[number].running) < PREFETCH:
            self.workers[number].fetch()

    @precondition(lambda self: self._waiting())
    @rule(number=st.integers(0, WORKERS - 1))
    def lose_the_reply_to_a_fetch(self, number: int) -> None:
        """The server gives a worker messages, and it never hears of them."""
        worker = self.workers[number]
        self.client.xreadgroup(GROUP, worker.broker.consumer_name, {self.keys.stream: ">"}, count=1)
        worker.reconnect()

    @precondition(lambda self: self._running())
    @rule(data=st.data(), reply_lost=st.booleans())
    def succeed(self, data: st.DataObject, reply_lost: bool) -> None:
        """A run succeeds; after a lost reply its end is repeated, as Dramatiq's worker does."""
        worker, message = self._ending(data)
        for _ in range(1 + reply_lost):
            worker.consumer.ack(message)
        self.places[message.message_id] = Where.DONE

    @precondition(lambda self: self._running())
    @rule(data=st.data(), delayed=st.booleans(), reply_lost=st.booleans())
    def fail_and_retry(self, data: st.DataObject, delayed: bool, reply_lost: bool) -> None:
        """A run fails, and its message is written again with one retry more, as Dramatiq's ``Retries`` does."""
        worker, message = self._ending(data)
        message.options["retries"] = message.options.get("retries", 0) + 1
        worker.broker.enqueue(cast("dramatiq.Message[Any]", message), delay=HOUR_MS if delayed else None)
        for _ in range(1 + reply_lost):
            worker.consumer.ack(message)
        self.places[message.message_id] = Where.DELAYED if delayed else Where.QUEUED

    @precondition(lambda self: self._running())
    @rule(data=st.data(), reply_lost=st.booleans())
    def fail_for_good(self, data: st.DataObject, reply_lost: bool) -> None:
        """A run fails for the last time."""
        worker, message = self._ending(data)
        for _ in range(1 + reply_lost):
            worker.consumer.nack(message)
        self.places[message.message_id] = Where.DEAD

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """A worker that stops gives back what it has not started."""
        worker, message = self._ending(data)
        worker.consumer.requeue([message])

    @rule(number=st.integers(0, WORKERS - 1))
    def reconnect(self, number: int) -> None:
        """A worker's connection is lost while it runs what it has."""
        self.workers[number].reconnect()

    @rule(number=st.integers(0, WORKERS - 1), late=st.booleans())
    def crash(self, number: int, late: bool) -> None:
        """A worker dies, its leases lapse, a new one takes its place; ``late``: one of its ends comes after all."""
        worker = self.workers[number]
        worker.broker.close()  # it renews nothing any more, and says no word to the server
        held: Any = self.client.xpending_range(
            self.keys.stream, GROUP, "-", "+", 1000, consumername=worker.broker.consumer_name
        )
        ids = [each["message_id"] for each in held]
        if ids:
            lapsed_ms = int(2000 * LEASE_S)
            self.client.xclaim(
                self.keys.stream, GROUP, worker.broker.consumer_name, 0, ids, idle=lapsed_ms, justid=True
            )
        self.workers[number] = Worker(self.client, self.namespace)
        self.workers[number].fetch()
        taken = {message.entry_id for message in self.workers[number].running}
        lost = [message for message in worker.running if message.entry_id in taken]
        if late and lost:
            # It lives after all, and its run fails: neither its retry nor its dead letter may count.
            lost[0].options["retries"] = lost[0].options.get("retries", 0) + 1
            worker.broker.enqueue(cast("dramatiq.Message[Any]", lost[0]), delay=None)
            worker.consumer.ack(lost[0])

    # -- the server's clock, and operators -------------------------------------------------------------------

    @precondition(lambda self: Where.DELAYED in self.places.values())
    @rule()
    def let_delays_end(self) -> None:
        """All delayed messages become due."""
        bodies: Any = self.client.zrange(self.keys.delayed, 0, -1)
        for body in bodies:
            self.client.zadd(self.keys.delayed, {body: 1})
        self.queue.promote()
        for message_id, where in self.places.items():
            if where is Where.DELAYED:
                self.places[message_id] = Where.QUEUED

    @precondition(lambda self: Where.DEAD in self.places.values())
    @rule(data=st.data())
    def requeue_a_dead_letter(self, data: st.DataObject) -> None:
        """An operator gives a call another life."""
        dead = [message_id for message_id, where in self.places.items() if where is Where.DEAD]
        message_id = data.draw(st.sampled_from(dead))
        self.letters.requeue(message_id)
        self.places[message_id] = Where.QUEUED

    # -- what always holds ----------------------------------------------------------------------------------

    @invariant()
    def each_message_is_in_exactly_one_place(self) -> None:
        pipeline = self.client.pipeline(transaction=True)
        pipeline.xrange(self.keys.stream)
        pipeline.zrange(self.keys.delayed, 0, -1)
        entries, delayed = pipeline.execute()
        found = Counter((_id_of(fields[b"m"]), Where.QUEUED) for _, fields in entries if b"m" in fields)
        found.update((_id_of(body), Where.DELAYED) for body in delayed)
        found.update((letter.id, Where.DEAD) for letter in self.letters.list())

        assert found == Counter((each, where) for each, where in self.places.items() if where is not Where.DONE)

    @invariant()
    def what_runs_is_held_by_the_worker_that_runs_it(self) -> None:
        pending: Any = self.client.xpending_range(self.keys.stream, GROUP, "-", "+", 1000)
        holders = {each["message_id"].decode(): each["consumer"].decode() for each in pending}
        for worker in self.workers:
            for message in worker.running:
                assert holders[message.entry_id] == worker.broker.consumer_name

    # -- parts of rules -------------------------------------------------------------------------------------

    def _message(self, message_id: str | None = None) -> dramatiq.Message[Any]:
        return dramatiq.Message(
            queue_name=QUEUE,
            actor_name=TASK,
            args=(),
            kwargs={},
            options={},
            message_id=message_id or f"message-{next(self.numbers)}",
        )

    def _waiting(self) -> bool:
        return self.queue.waiting() > 0

    def _running(self) -> bool:
        return any(worker.running for worker in self.workers)

    def _ending(self, data: st.DataObject) -> tuple[Worker, StreamMessage]:
        """One of the running messages, which ends now."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.running]))
        return worker, worker.running.pop(data.draw(st.integers(0, len(worker.running) - 1)))


def _id_of(body: bytes) -> str:
    return dramatiq.Message.decode(body).message_id


@contextmanager
def served_by(server: EmbeddedServer) -> Iterator[type[Conservation]]:
    Conservation.server = server
    yield Conservation


def test_each_accepted_message_is_in_exactly_one_place(redis_server: EmbeddedServer) -> None:
    with served_by(redis_server) as machine:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=15,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
