from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import dramatiq
import pytest
import redis
from dramatiq.errors import ConnectionClosed, QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import AgeLimit, CurrentMessage, Pipelines, Retries
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.servers.users import url_as

from weighbridge.embedded import EmbeddedServer
from weighbridge.errors import BrokerError, QueueNameError
from weighbridge.lanes.queue import keeper, patient_client
from weighbridge.lanes.queue.dead_letters import DeadLetters, DeadReason
from weighbridge.lanes.queue.exchange import Exchange
from weighbridge.lanes.queue.keys import GROUP, LASTING, QueueKeys
from weighbridge.lanes.queue.middleware import ServerAgeLimit
from weighbridge.lanes.queue.permissions import Role
from weighbridge.lanes.queue.stream_consumer import StreamConsumer
from weighbridge.lanes.queue.stream_message import StreamMessage
from weighbridge.lanes.queue.streams import StreamsBroker

NO_RETRY = Retry(NoBackoff(), 0)


def eventually(condition: Callable[[], object], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


class Bench:
    """Brokers, workers and consumers of one namespace, all put away at the end."""

    def __init__(self, url: str, *, role: Role | None = None) -> None:
        self.namespace = f"test-{uuid.uuid4().hex}"
        self.url = url if role is None else url_as(role, url, namespace=self.namespace)
        self.client = redis.Redis.from_url(url)
        self.keys = QueueKeys(namespace=self.namespace, queue="default")
        self.runs: list[Any] = []
        self._brokers: list[StreamsBroker] = []
        self._workers: list[dramatiq.Worker] = []
        self._consumers: list[StreamConsumer] = []
        self._clients = [self.client]

    def broker(self, *middleware: dramatiq.Middleware, socket_timeout_s: float = 5, **options: Any) -> StreamsBroker:
        client = redis.Redis.from_url(self.url, socket_timeout=socket_timeout_s, retry=NO_RETRY)
        self._clients.append(client)
        broker = StreamsBroker(client=client, namespace=self.namespace, middleware=list(middleware), **options)
        broker.declare_queue("default")
        self._brokers.append(broker)
        return broker

    def recorder(self, broker: StreamsBroker, **options: Any) -> dramatiq.Actor[..., None]:
        def record(value: object) -> None:
            self.runs.append(value)

        declared = broker.actors.get("record")
        if declared is not None and not options:
            return declared
        return dramatiq.actor(broker=broker, actor_name="record", **options)(record)

    def work(self, broker: StreamsBroker, *, threads: int = 2) -> dramatiq.Worker:
        worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
        worker.start()
        self._workers.append(worker)
        return worker

    def consumer(self, broker: StreamsBroker, *, prefetch: int = 1, timeout_ms: int = 10_000) -> StreamConsumer:
        self.recorder(broker)  # so that it is handed such messages, whoever sends them
        consumer = broker.consume("default", prefetch=prefetch, timeout=timeout_ms)
        self._consumers.append(consumer)
        return consumer

    def stream(self) -> list[Any]:
        entries: Any = self.client.xrange(self.keys.stream)
        return list(entries)

    def held(self) -> list[Any]:
        """What the group holds: entry, consumer, and the milliseconds since it was delivered or renewed."""
        pending: Any = self.client.xpending_range(self.keys.stream, GROUP, "-", "+", 10)
        return list(pending)

    def delayed(self) -> list[Any]:
        bodies: Any = self.client.zrange(self.keys.delayed, 0, -1)
        return [dramatiq.Message.decode(body) for body in bodies]

    def put_away(self) -> None:
        for worker in self._workers:
            worker.stop()
        for consumer in self._consumers:
            consumer.close()
        for broker in self._brokers:
            broker.close()
        for key in self.client.scan_iter(f"{self.namespace}:*"):
            self.client.delete(key)
        for client in self._clients:
            client.close()


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    bench = Bench(redis_url)
    yield bench
    bench.put_away()


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server that a test may disturb."""
    with EmbeddedServer.start(tcp=True) as server:
        yield server


@pytest.fixture
def own_bench(own_server: EmbeddedServer) -> Iterator[Bench]:
    bench = Bench(own_server.url)
    yield bench
    bench.put_away()


def fetched(consumer: StreamConsumer) -> StreamMessage:
    deadline_s = time.monotonic() + 10
    while (message := next(consumer)) is None:  # a look for dead workers ends a wait
        assert time.monotonic() < deadline_s
    assert isinstance(message, StreamMessage)
    return message


def again(message: StreamMessage) -> dramatiq.Message[Any]:
    """A held message as Dramatiq's ``Retries`` enqueues it: the proxy itself, whatever the type says."""
    return cast("dramatiq.Message[Any]", message)


def no_server() -> redis.Redis:
    return redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=1, retry=NO_RETRY)


# -- writing


def test_a_message_runs_on_dramatiqs_own_worker(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    bench.work(broker)

    record.send("hello")

    eventually(lambda: bench.runs == ["hello"])
    broker.join("default", timeout=5_000)


def test_a_message_lies_in_the_stream_as_dramatiqs_plain_json(bench: Bench) -> None:
    broker = bench.broker()

    message = bench.recorder(broker).send("hello")

    [(_, fields)] = bench.stream()
    assert fields == {b"m": message.encode()}


def test_declaring_a_queue_needs_no_server() -> None:
    broker = StreamsBroker(client=no_server(), middleware=[])

    broker.declare_queue("default")

    assert broker.get_declared_queues() == {"default"}
    assert broker.get_declared_delay_queues() == set()


def test_a_client_that_decodes_replies_is_refused() -> None:
    with pytest.raises(BrokerError, match="decode_responses=False"):
        StreamsBroker(client=redis.Redis(decode_responses=True), middleware=[])


def test_writing_a_message_again_does_nothing(bench: Bench) -> None:
    broker = bench.broker()
    message = bench.recorder(broker).message(1)

    broker.enqueue(message)
    broker.enqueue(message)
    broker.enqueue_many([(message, None), (message, 5)])

    assert broker.waiting("default") == 1


def test_writing_a_message_again_does_nothing_even_when_it_has_run(bench: Bench) -> None:
    broker = bench.broker()
    message = bench.recorder(broker).message(1)
    consumer = bench.consumer(broker)
    broker.enqueue_many([(message, None)])
    consumer.ack(fetched(consumer))

    broker.enqueue_many([(message, None)])

    assert bench.stream() == []


def test_a_later_attempt_of_a_message_is_written(bench: Bench) -> None:
    broker = bench.broker()
    message = bench.recorder(broker).message(1)
    broker.enqueue(message)

    broker.enqueue(message.copy(options={"retries": 1}))

    assert broker.waiting("default") == 2


def test_many_messages_for_several_queues_are_written_in_their_order(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    messages = [record.message(number) for number in range(5)]
    heavy = record.message("heavy").copy(queue_name="heavy")

    broker.enqueue_many(
        [*[(message, None) for message in messages[:3]], (heavy, None), (messages[3], 0), (messages[4], 0)]
    )

    assert [dramatiq.Message.decode(fields[b"m"]).args[0] for _, fields in bench.stream()] == [0, 1, 2, 3, 4]
    assert broker.waiting("heavy") == 1


def test_writing_no_messages_asks_nothing_of_the_server() -> None:
    assert StreamsBroker(client=no_server(), middleware=[]).enqueue_many([]) == []


def test_with_one_impossible_message_none_is_written(bench: Bench) -> None:
    broker = bench.broker()
    good = bench.recorder(broker).message(1)

    with pytest.raises(QueueNameError, match=re.escape("'a}b'")):
        broker.enqueue_many([(good, None), (good.copy(queue_name="a}b"), None)])

    assert broker.waiting("default") == 0


def test_a_server_out_of_memory_takes_none_of_many_messages(own_bench: Bench) -> None:
    bench = own_bench
    broker = bench.broker()
    record = bench.recorder(broker)
    bench.client.config_set("maxmemory", 1)

    with pytest.raises(redis.ResponseError, match="used memory"):
        broker.enqueue_many([(record.message(number), number or None) for number in range(3)])

    bench.client.config_set("maxmemory", 0)
    assert list(bench.client.scan_iter(f"{bench.namespace}:*")) == []


def test_a_message_that_a_missing_permission_kept_out_is_written_when_it_is_written_again(own_bench: Bench) -> None:
    own_bench.client.acl_setuser("web", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xadd"])
    message = own_bench.recorder(own_bench.broker()).message(1)
    client = redis.Redis.from_url(own_bench.url, username="web", password="any")
    broker = StreamsBroker(client=client, namespace=own_bench.namespace, middleware=[])

    with pytest.raises(redis.RedisError):
        broker.enqueue_many([(message, None)])
    own_bench.client.acl_setuser("web", commands=["+xadd"])
    broker.enqueue_many([(message, None)])

    assert len(own_bench.stream()) == 1
    client.close()


def test_a_message_is_not_written_where_it_cannot_be_marked(own_bench: Bench) -> None:
    own_bench.client.acl_setuser("web", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-set"])
    message = own_bench.recorder(own_bench.broker()).message(1)
    client = redis.Redis.from_url(own_bench.url, username="web", password="any")
    broker = StreamsBroker(client=client, namespace=own_bench.namespace, middleware=[])

    with pytest.raises(redis.ResponseError, match="can't run this command"):
        broker.enqueue_many([(message, None)])

    assert own_bench.stream() == []
    client.close()


def test_a_mark_lives_as_long_as_a_write_may_be_repeated_whatever_the_delay(bench: Bench) -> None:
    message = bench.recorder(bench.broker()).send_with_options(args=(1,), delay=3_600_000)

    assert 100 < bench.client.ttl(bench.keys.mark(message.message_id, 0)) <= 120


def test_errors_of_the_server_come_out_of_a_write_as_they_are() -> None:
    broker = StreamsBroker(client=no_server(), middleware=[])
    message = dramatiq.Message[None](queue_name="default", actor_name="f", args=(), kwargs={}, options={})

    with pytest.raises(redis.ConnectionError):
        broker.enqueue_many([(message, None)])


def test_middleware_sees_all_messages_before_any_is_written_and_each_afterwards(bench: Bench) -> None:
    seen: list[tuple[str, object, int]] = []

    class Watcher(dramatiq.Middleware):
        def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
            seen.append(("before", message.args[0], broker.waiting("default")))

        def after_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
            seen.append(("after", message.args[0], broker.waiting("default")))

    broker = bench.broker(Watcher())
    record = bench.recorder(broker)

    broker.enqueue_many([(record.message("a"), None), (record.message("b"), None)])

    assert seen == [("before", "a", 0), ("before", "b", 0), ("after", "a", 2), ("after", "b", 2)]


def test_options_that_middleware_adds_before_the_write_are_written(bench: Bench) -> None:
    class Tracer(dramatiq.Middleware):
        def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
            message.options["trace"] = "abc"

    broker = bench.broker(Tracer(), message_options={"trace"})
    bench.recorder(broker).send(1)

    assert fetched(bench.consumer(broker)).options == {"trace": "abc"}


def test_writing_works_after_the_server_has_forgotten_its_scripts(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    bench.work(broker)
    record.send(1)
    eventually(lambda: bench.runs == [1])

    bench.client.script_flush()
    record.send(2)

    eventually(lambda: bench.runs == [1, 2])
    broker.join("default", timeout=5_000)


# -- delays and retries


def test_a_delayed_message_cannot_be_fetched_before_it_is_due(bench: Bench) -> None:
    broker = bench.broker()
    bench.recorder(broker).send_with_options(args=(1,), delay=60_000)

    assert next(bench.consumer(broker, timeout_ms=200)) is None
    assert broker.waiting("default") == 0
    assert bench.client.zcard(bench.keys.delayed) == 1


def test_a_delayed_message_comes_without_a_time_for_dramatiq_to_hold_it_back(bench: Bench) -> None:
    broker = bench.broker()
    message = bench.recorder(broker).message(1)

    broker.enqueue(message.copy(options={"eta": 99_999_999_999_999}), delay=20)

    assert fetched(bench.consumer(broker)).options == {}


def test_a_time_that_another_writer_put_into_a_message_is_dropped(bench: Bench) -> None:
    broker = bench.broker()
    message = bench.recorder(broker).message(1).copy(options={"eta": 99_999_999_999_999})

    bench.client.xadd(bench.keys.stream, {"m": message.encode()})

    assert fetched(bench.consumer(broker)).options == {}


def test_a_short_delay_wakes_a_reader_that_is_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "WATCH_S", 600.0)  # so that nothing but the wake-up can bring it
    broker = bench.broker()
    record = bench.recorder(broker)
    bench.work(broker)
    record.send("first")
    eventually(lambda: bench.runs == ["first"])

    record.send_with_options(args=("delayed",), delay=50)

    eventually(lambda: bench.runs == ["first", "delayed"])
    broker.join("default", timeout=5_000)
    assert not bench.client.exists(bench.keys.wake)


def test_short_delays_leave_at_most_one_wake_up_in_the_stream_while_no_worker_runs(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)

    for delay in range(1_000, 500, -50):
        record.send_with_options(args=(delay,), delay=delay)

    assert len(bench.stream()) == 1
    assert broker.waiting("default") == 0


def test_delayed_messages_come_in_the_order_in_which_they_are_due(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    for delay in (300, 100, 200):
        record.send_with_options(args=(delay,), delay=delay)

    consumer = bench.consumer(broker, prefetch=3)

    assert [fetched(consumer).args[0] for _ in range(3)] == [100, 200, 300]


def test_a_delayed_message_outlives_the_processes_that_knew_of_it(bench: Bench) -> None:
    first = bench.broker()
    bench.recorder(first).send_with_options(args=(1,), delay=400)
    assert next(bench.consumer(first, timeout_ms=100)) is None
    first.close()

    assert fetched(bench.consumer(bench.broker())).args == (1,)


def test_a_message_that_is_due_counts_as_waiting(bench: Bench) -> None:
    broker = bench.broker()

    bench.recorder(broker).send_with_options(args=(1,), delay=30)

    eventually(lambda: broker.waiting("default") == 1)


def test_a_failing_task_is_retried_as_often_as_it_says(bench: Bench) -> None:
    broker = bench.broker(Retries(min_backoff=1, max_backoff=5), CurrentMessage())

    @dramatiq.actor(broker=broker, actor_name="fail", max_retries=2)
    def fail() -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        bench.runs.append(message.options.get("retries", 0))
        raise RuntimeError("no")

    bench.work(broker)
    sent = fail.send()

    broker.join("default", timeout=20_000)
    assert bench.runs == [0, 1, 2]
    assert bench.client.exists(bench.keys.letter(sent.message_id))


def test_a_retry_is_written_in_the_step_that_ends_the_run(bench: Bench) -> None:
    broker = bench.broker()
    bench.recorder(broker).send(1)
    consumer = bench.consumer(broker)
    message = fetched(consumer)
    message.options["retries"] = 1

    broker.enqueue(again(message), delay=60_000)
    assert bench.client.zcard(bench.keys.delayed) == 0

    consumer.ack(message)
    assert bench.stream() == []
    assert [retry.options for retry in bench.delayed()] == [{"retries": 1}]


def test_a_retry_is_not_lost_while_the_server_is_silent(own_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_client, "GRACE_S", 0.2)
    bench = own_bench
    broker = bench.broker()
    bench.recorder(broker).send(1)
    consumer = bench.consumer(broker)
    message = fetched(consumer)
    message.options["retries"] = 1
    bench.client.client_pause(60_000, all=False)

    broker.enqueue(again(message))
    with pytest.raises(ConnectionClosed):
        consumer.ack(message)
    bench.client.client_unpause()
    consumer.ack(message)  # as Dramatiq's worker does until it succeeds

    [(_, fields)] = bench.stream()
    assert dramatiq.Message.decode(fields[b"m"]).options == {"retries": 1}


def test_a_retry_is_written_once_if_the_answer_to_its_acknowledgement_was_lost(bench: Bench) -> None:
    broker = bench.broker()
    bench.recorder(broker).send(1)
    consumer = bench.consumer(broker)
    message = fetched(consumer)
    message.options["retries"] = 1
    broker.enqueue(again(message))

    consumer.ack(message)
    consumer.ack(message)  # as Dramatiq's worker does when it saw no answer

    assert len(bench.stream()) == 1


@pytest.mark.parametrize("command", ["xack", "xdel"])
@pytest.mark.parametrize("delay", [0, 60_000])
def test_a_retry_is_written_once_however_often_the_server_refuses_to_take_its_message_away(
    own_bench: Bench, command: str, delay: int
) -> None:
    client = own_bench.client
    client.acl_setuser("worker", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{command}"])
    own_bench.recorder(own_bench.broker()).send(1)
    broker = StreamsBroker(
        client=redis.Redis.from_url(own_bench.url, username="worker", password="any"),
        namespace=own_bench.namespace,
        middleware=[],
    )
    own_bench.recorder(broker)
    consumer = broker.consume("default", timeout=10_000)
    message = fetched(consumer)
    message.options["retries"] = 1
    broker.enqueue(again(message), delay=delay)

    for _ in range(3):
        with pytest.raises(ConnectionClosed):
            consumer.ack(message)
        due: Any = client.zrange(own_bench.keys.delayed, 0, -1)
        for entry in due:  # as if it became due meanwhile
            client.zrem(own_bench.keys.delayed, entry)
            client.xadd(own_bench.keys.stream, {"m": entry})
    client.acl_setuser("worker", commands=["+@all"])
    consumer.ack(message)

    [(_, fields)] = own_bench.stream()
    assert dramatiq.Message.decode(fields[b"m"]).options == {"retries": 1}
    consumer.close()
    broker.close()
    broker.client.close()


def test_a_task_may_enqueue_its_own_message_again(bench: Bench) -> None:
    broker = bench.broker(CurrentMessage())

    @dramatiq.actor(broker=broker, actor_name="again")
    def again() -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        bench.runs.append(message.message_id)
        if len(bench.runs) < 3:
            broker.enqueue(message.copy())

    bench.work(broker)
    sent = again.send()

    broker.join("default", timeout=20_000)
    assert bench.runs == [sent.message_id] * 3


def test_a_pipeline_runs_its_messages_one_after_the_other(bench: Bench) -> None:
    broker = bench.broker(Pipelines())

    @dramatiq.actor(broker=broker, actor_name="add")
    def add(number: int, other: int) -> int:
        bench.runs.append(number + other)
        return number + other

    bench.work(broker)
    steps = [add.message(1, 1), add.message_with_options(args=(10,))]
    dramatiq.pipeline(steps, broker=broker).run()  # type: ignore[no-untyped-call]  # Dramatiq does not type it

    eventually(lambda: bench.runs == [2, 12])


# -- fetching


def test_a_consumer_of_a_queue_that_was_not_declared_is_refused(bench: Bench) -> None:
    with pytest.raises(QueueNotFound):
        bench.broker().consume("unknown")


def test_a_message_goes_to_one_of_several_workers(bench: Bench) -> None:
    brokers = [bench.broker() for _ in range(3)]
    records = [bench.recorder(broker) for broker in brokers]
    for broker in brokers:
        bench.work(broker)

    for number in range(200):
        records[0].send(number)

    brokers[0].join("default", timeout=20_000)
    assert sorted(bench.runs) == list(range(200))


def test_a_consumer_holds_no_more_than_its_limit(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    for number in range(3):
        record.send(number)
    consumer = bench.consumer(broker, prefetch=2, timeout_ms=100)

    assert [fetched(consumer).args[0] for _ in range(2)] == [0, 1]
    assert next(consumer) is None
    assert broker.waiting("default") == 1


def test_an_acknowledgement_wakes_a_consumer_that_was_at_its_limit(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    record.send(1)
    record.send(2)
    consumer = bench.consumer(broker, prefetch=1, timeout_ms=60_000)
    first = fetched(consumer)
    found: list[StreamMessage] = []
    thread = threading.Thread(target=lambda: found.append(fetched(consumer)))
    thread.start()

    consumer.ack(first)

    thread.join(20)
    assert [message.args[0] for message in found] == [2]


def test_a_client_with_a_short_time_out_does_not_cut_the_waiting_short(bench: Bench) -> None:
    broker = bench.broker(socket_timeout_s=0.05)
    consumer = bench.consumer(broker, timeout_ms=300)

    assert next(consumer) is None

    bench.recorder(broker).send(1)
    assert fetched(consumer).args == (1,)


def test_a_server_that_cannot_be_reached_is_dramatiqs_connection_error() -> None:
    broker = StreamsBroker(client=no_server(), middleware=[])
    broker.declare_queue("default")
    consumer = broker.consume("default", timeout=100)

    with pytest.raises(ConnectionClosed):
        next(consumer)
    consumer.close()
    broker.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_fetching_works_over_tcp_with_a_password_in_both_protocols(own_server: EmbeddedServer, protocol: int) -> None:
    client = redis.Redis.from_url(own_server.url, protocol=protocol)
    broker = StreamsBroker(client=client, middleware=[])
    message = dramatiq.Message[None](queue_name="default", actor_name="f", args=(1,), kwargs={}, options={})
    dramatiq.actor(broker=broker, actor_name="f")(lambda: None)
    consumer = broker.consume("default", timeout=10_000)

    broker.enqueue(message)

    got = fetched(consumer)
    assert got.args == (1,)
    consumer.ack(got)
    consumer.close()
    broker.close()
    client.close()


# -- leases


def test_a_lease_is_kept_while_nothing_is_fetched(bench: Bench) -> None:
    broker, other = bench.broker(lease_s=1.5), bench.broker(lease_s=1.5)
    bench.recorder(broker).send(1)
    holder = bench.consumer(broker)
    message = fetched(holder)

    rival = bench.consumer(other, timeout_ms=500)

    assert [next(rival) for _ in range(8)] == [None] * 8
    holder.ack(message)
    assert bench.stream() == []


def test_a_lease_is_kept_after_all_connections_were_cut(own_bench: Bench) -> None:
    broker = own_bench.broker(lease_s=0.9)
    own_bench.recorder(broker).send(1)
    consumer = own_bench.consumer(broker)
    message = fetched(consumer)

    own_bench.client.client_kill_filter(_type="normal", skipme=True)

    eventually(lambda: own_bench.held()[0]["time_since_delivered"] > 200)
    eventually(lambda: own_bench.held()[0]["time_since_delivered"] < 200)
    assert own_bench.held()[0]["consumer"].decode() == broker.consumer_name
    with contextlib.suppress(ConnectionClosed):  # the connection of this thread may be a cut one
        consumer.ack(message)


def test_a_message_of_a_killed_worker_is_run_by_another(bench: Bench) -> None:
    broker = bench.broker(lease_s=1)
    record = bench.recorder(broker)
    script = f"""
import dramatiq, redis, time
from weighbridge.lanes.queue.streams import StreamsBroker
client = redis.Redis.from_url({bench.url!r})
broker = StreamsBroker(client=client, namespace={bench.namespace!r}, middleware=[], lease_s=1)
@dramatiq.actor(broker=broker, actor_name="record")
def record(value):
    print("started", flush=True)
    time.sleep(600)
dramatiq.Worker(broker, worker_threads=1).start()
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        record.send("survivor")
        record.send("prefetched")
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        eventually(lambda: broker.waiting("default") == 0)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

    bench.work(broker)

    eventually(lambda: sorted(bench.runs) == ["prefetched", "survivor"])
    broker.join("default", timeout=5_000)


def test_a_success_ends_the_message_even_after_its_lease_was_lost(bench: Bench) -> None:
    broker, other = bench.broker(lease_s=0.3), bench.broker(lease_s=0.3)
    bench.recorder(broker).send(1)
    loser, winner = bench.consumer(broker), bench.consumer(other)
    lost = fetched(loser)
    broker.close()  # from here on its leases are not renewed, as if the task held the interpreter
    taken = fetched(winner)

    loser.ack(lost)

    assert bench.stream() == []
    assert bench.held() == []
    taken.options["retries"] = 1
    other.enqueue(again(taken))
    winner.ack(taken)
    assert bench.stream() == []  # the second run was in vain, and is not retried


def test_a_failure_after_its_lease_was_lost_changes_nothing(bench: Bench) -> None:
    broker, other = bench.broker(lease_s=0.3), bench.broker(lease_s=0.3)
    bench.recorder(broker).send(1)
    loser = bench.consumer(broker)
    lost = fetched(loser)
    broker.close()  # from here on its leases are not renewed
    winner = bench.consumer(other)
    taken = fetched(winner)
    assert taken.message_id == lost.message_id

    lost.options["retries"] = 1
    broker.enqueue(again(lost))
    loser.ack(lost)
    loser.nack(lost)

    assert [entry.decode() for entry, _ in bench.stream()] == [taken.entry_id]
    assert not bench.client.exists(bench.keys.dead)
    winner.ack(taken)
    assert bench.stream() == []


def test_a_lost_lease_is_not_renewed_away_from_its_new_holder(bench: Bench) -> None:
    broker, other = bench.broker(lease_s=0.3), bench.broker(lease_s=60)
    bench.recorder(broker).send(1)
    loser = bench.consumer(broker)
    entry_id = fetched(loser).entry_id
    bench.client.xclaim(bench.keys.stream, GROUP, other.consumer_name, 0, [entry_id])

    eventually(lambda: bench.held()[0]["time_since_delivered"] > 600)

    [pending] = bench.held()
    assert pending["consumer"].decode() == other.consumer_name


def test_messages_whose_fetch_reply_was_lost_are_recovered_at_once(bench: Bench) -> None:
    broker = bench.broker(lease_s=600)
    record = bench.recorder(broker)
    for number in range(3):
        record.send(number)
    first = bench.consumer(broker, prefetch=1)
    held = fetched(first)
    bench.client.xreadgroup(GROUP, broker.consumer_name, {bench.keys.stream: ">"})  # nobody sees this reply

    after = bench.consumer(broker, prefetch=3)

    assert [fetched(after).args[0] for _ in range(2)] == [1, 2]
    after.ack(held)  # as Dramatiq does with what the consumer before it had fetched


def test_after_an_outage_others_get_time_to_renew_before_anything_is_taken_over(bench: Bench) -> None:
    broker = bench.broker(lease_s=0.2)
    bench.recorder(broker).send(1)
    bench.client.xgroup_create(bench.keys.stream, GROUP, id="0")
    bench.client.xreadgroup(GROUP, "somebody", {bench.keys.stream: ">"})
    eventually(lambda: bench.held()[0]["time_since_delivered"] > 200)
    consumer = bench.consumer(broker)
    leases = broker._leases["default"]

    leases.trouble(lease_s=3_600)
    before = bench.consumer(broker, timeout_ms=100)
    assert next(before) is None

    leases.no_claims_before_s = 0
    assert fetched(consumer).args == (1,)


def test_an_outage_that_only_the_keeper_has_met_gives_others_time_to_renew_too(
    own_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = own_bench
    broker = bench.broker(lease_s=30)
    bench.recorder(broker).send(1)
    bench.client.xgroup_create(bench.keys.stream, GROUP, id="0")
    bench.client.xreadgroup(GROUP, "somebody", {bench.keys.stream: ">"})
    [pending] = bench.client.xpending_range(bench.keys.stream, GROUP, "-", "+", 1)
    entry_id = pending["message_id"]
    bench.client.xclaim(bench.keys.stream, GROUP, "somebody", 0, [entry_id], idle=60_000)
    consumer = bench.consumer(broker, timeout_ms=100)  # it asks nothing meanwhile, as if the process were full
    told: list[float] = []
    monkeypatch.setattr(keeper, "emit", lambda *_, **__: told.append(time.monotonic()))

    bench.client.client_pause(8_000, all=True)
    eventually(lambda: told)
    bench.client.ping()  # answered when the pause is over
    consumer._claim_at_s = 0

    assert next(consumer) is None


# -- the server loses things


def test_a_stream_that_is_deleted_under_a_waiting_reader_is_made_again(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    bench.work(broker)
    record.send(1)
    eventually(lambda: bench.runs == [1])

    bench.client.delete(bench.keys.stream)
    record.send(2)

    eventually(lambda: bench.runs == [1, 2])


def test_messages_that_lay_there_before_the_first_worker_are_fetched(bench: Bench) -> None:
    web, worker = bench.broker(), bench.broker()
    bench.recorder(web).send(1)

    assert fetched(bench.consumer(worker)).args == (1,)


# -- giving back, emptying, ending


def test_a_stopping_worker_gives_back_what_it_has_not_started(bench: Bench) -> None:
    broker, other = bench.broker(lease_s=600), bench.broker(lease_s=600)
    started, go_on = threading.Event(), threading.Event()

    @dramatiq.actor(broker=broker, actor_name="record")
    def hold(value: object) -> None:
        started.set()
        go_on.wait(20)

    worker = bench.work(broker, threads=1)
    for number in range(4):
        hold.send(number)
    assert started.wait(20)
    eventually(lambda: len(broker._leases["default"]) == 2)  # Dramatiq's worker prefetches two for one thread
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    go_on.set()
    stopper.join(20)

    consumer = bench.consumer(other, prefetch=4)
    assert sorted(fetched(consumer).args[0] for _ in range(3)) == [1, 2, 3]


def test_a_closed_consumer_that_holds_nothing_leaves_the_group(bench: Bench) -> None:
    broker = bench.broker()
    consumer = broker.consume("default", timeout=50)
    assert next(consumer) is None

    consumer.close()

    assert bench.client.xinfo_consumers(bench.keys.stream, GROUP) == []


def test_a_closed_consumer_that_still_holds_a_message_stays_in_the_group(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    record.send(1)
    record.send(2)
    consumer = broker.consume("default", prefetch=2, timeout=10_000)
    message = fetched(consumer)

    consumer.close()

    [member] = bench.client.xinfo_consumers(bench.keys.stream, GROUP)
    assert member["pending"] == 1
    assert broker.waiting("default") == 1  # the second one, which it had fetched and not handed out
    consumer.ack(message)


def test_workers_that_died_without_a_word_leave_the_group_when_they_hold_nothing(bench: Bench) -> None:
    broker = bench.broker()
    bench.recorder(broker).send(1)
    bench.client.xgroup_create(bench.keys.stream, GROUP, id="0")
    bench.client.xgroup_createconsumer(bench.keys.stream, GROUP, "idle")
    bench.client.xreadgroup(GROUP, "holder", {bench.keys.stream: ">"})

    assert broker.queues["default"].retire(None) == 1

    assert [each["name"] for each in bench.client.xinfo_consumers(bench.keys.stream, GROUP)] == [b"holder"]


def test_flushing_drops_what_waits_and_what_is_delayed_and_lets_runs_end(bench: Bench) -> None:
    broker = bench.broker()
    record = bench.recorder(broker)
    record.send(0)
    consumer = bench.consumer(broker, timeout_ms=100)
    running = fetched(consumer)
    record.send(1)
    record.send_with_options(args=(2,), delay=1_000)

    broker.flush_all()
    consumer.ack(running)

    assert broker.waiting("default") == 0
    broker.join("default", timeout=0)
    record.send(3)
    assert fetched(consumer).args == (3,)


def test_joining_a_queue_that_does_not_empty_ends_with_dramatiqs_error(bench: Bench) -> None:
    broker = bench.broker()
    bench.recorder(broker).send_with_options(args=(1,), delay=60_000)

    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=20)


def test_ping_reaches_the_server_or_raises(bench: Bench) -> None:
    bench.broker().ping()

    with pytest.raises(redis.ConnectionError):
        StreamsBroker(client=no_server(), middleware=[]).ping()


def test_every_key_has_a_time_to_live_or_is_named_as_lasting(bench: Bench) -> None:
    broker = bench.broker(Retries(max_retries=0), AgeLimit())

    @dramatiq.actor(broker=broker, actor_name="fail")
    def fail() -> None:
        raise RuntimeError("no")

    bench.work(broker)
    fail.send()
    broker.join("default", timeout=20_000)
    fail.send_with_options(delay=60_000)
    fail.send_with_options(delay=1_500)

    keys = [key.decode() for key in bench.client.scan_iter(f"{bench.namespace}:*")]
    lasting = {key for key in keys if bench.client.ttl(key) == -1}
    assert {key.rpartition(":")[2] for key in lasting} <= set(LASTING)
    assert len(keys) > len(lasting)


# -- fencing, orphans and suspects


def test_a_message_whose_lease_was_lost_before_its_run_is_not_started(bench: Bench) -> None:
    broker, other = bench.broker(lease_s=0.3), bench.broker(lease_s=0.3)
    bench.recorder(broker).send(1)
    message = fetched(bench.consumer(broker))
    consumer = bench._consumers[-1]
    assert broker.may_start(message)
    broker.close()  # from here on its leases are not renewed
    taken = fetched(bench.consumer(other))

    assert not broker.may_start(message)

    consumer.ack(message)
    assert [entry.decode() for entry, _ in bench.stream()] == [taken.entry_id]


def test_a_message_whose_lease_lapsed_and_was_not_taken_is_started_and_renewed(bench: Bench) -> None:
    broker = bench.broker(lease_s=0.3)
    bench.recorder(broker).send(1)
    message = fetched(bench.consumer(broker))
    broker.close()
    eventually(lambda: bench.held()[0]["time_since_delivered"] > 400)

    assert broker.may_start(message)

    assert bench.held()[0]["time_since_delivered"] < 200


def test_what_a_dead_consumer_held_can_be_taken_at_once_in_order_and_counts_what_ran(bench: Bench) -> None:
    dead, other = bench.broker(lease_s=600), bench.broker(lease_s=600)
    record = bench.recorder(dead)
    for number in range(3):
        record.send(number)
    holder = bench.consumer(dead, prefetch=3)
    messages = [fetched(holder) for _ in range(3)]

    assert dead._leases["default"].queue.disown([messages[1].entry_id]) == 3
    assert dead._leases["default"].queue.disown([messages[1].entry_id]) == 0
    assert dead.waiting("default") == 3

    taker = bench.consumer(other, prefetch=3)
    assert [fetched(taker).args[0] for _ in range(3)] == [0, 1, 2]
    assert bench.client.hgetall(bench.keys.crashes) == {messages[1].entry_id.encode(): b"1"}


def test_crashes_are_kept_when_a_suspect_is_given_back_and_end_with_its_success(bench: Bench) -> None:
    broker = bench.broker(lease_s=600)
    queue = broker.queues["default"]
    message = bench.recorder(broker).message(1)
    bench.client.xadd(bench.keys.stream, {"m": message.encode(), "c": 2})
    first = bench.consumer(broker)
    suspect = fetched(first)
    assert bench.client.hgetall(bench.keys.crashes) == {f"alone:{suspect.entry_id}".encode(): queue.consumer.encode()}

    first.requeue([suspect])

    [(_, fields)] = bench.stream()
    assert fields == {b"m": message.encode(), b"c": b"2"}
    again = fetched(first)
    first.ack(again)
    assert bench.stream() == []
    assert not bench.client.exists(bench.keys.crashes)


def before_a_suspect(bench: Bench, broker: StreamsBroker) -> tuple[StreamConsumer, StreamMessage]:
    """A consumer, and the message that it has handed out; a suspect waits for its end, and one more behind that."""
    record = bench.recorder(broker)
    consumer = bench.consumer(broker, prefetch=3, timeout_ms=200)
    assert next(consumer) is None
    record.send("before")
    before = fetched(consumer)
    bench.client.xadd(bench.keys.stream, {"m": record.message("suspect").encode(), "c": 2})
    record.send("after")
    return consumer, before


def test_nothing_else_is_handed_out_while_a_suspect_runs_alone(bench: Bench) -> None:
    consumer, before = before_a_suspect(bench, bench.broker(lease_s=600))

    assert next(consumer) is None
    consumer.ack(before)
    suspect = fetched(consumer)
    assert suspect.args == ("suspect",)
    assert next(consumer) is None
    consumer.ack(suspect)
    assert fetched(consumer).args == ("after",)


def test_what_could_not_be_given_back_while_a_suspect_waits_is_handed_out_by_the_next_consumer(bench: Bench) -> None:
    broker = bench.broker(lease_s=600)
    consumer, before = before_a_suspect(bench, broker)
    bench.client.set(bench.keys.crashes, "of another type, so giving back is refused")
    with pytest.raises(ConnectionClosed):
        next(consumer)
    consumer.close()
    bench.client.delete(bench.keys.crashes)
    consumer.ack(before)

    successor = bench.consumer(broker, prefetch=3, timeout_ms=1_000)

    suspect = fetched(successor)
    assert suspect.args == ("suspect",)
    successor.ack(suspect)
    assert fetched(successor).args == ("after",)


def test_what_a_closing_consumer_could_not_give_back_is_handed_out_by_the_next_one(bench: Bench) -> None:
    broker = bench.broker(lease_s=600)
    record = bench.recorder(broker)
    for number in range(3):
        record.send(number)
    consumer = bench.consumer(broker, prefetch=3, timeout_ms=1_000)
    consumer.ack(fetched(consumer))
    bench.client.set(bench.keys.crashes, "of another type, so giving back is refused")
    with pytest.raises(ConnectionClosed):
        consumer.close()
    bench.client.delete(bench.keys.crashes)

    successor = bench.consumer(broker, prefetch=3, timeout_ms=1_000)

    assert [fetched(successor).args[0] for _ in range(2)] == [1, 2]


def test_what_could_not_be_given_back_while_a_suspect_runs_alone_is_not_kept_from_all_workers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = bench.broker(lease_s=600)
    record = bench.recorder(broker)
    bench.client.xadd(bench.keys.stream, {"m": record.message("suspect").encode(), "c": 2})
    record.send("after")
    first = bench.consumer(broker, prefetch=2, timeout_ms=200)
    suspect = fetched(first)

    def lost(entry_ids: object) -> int:
        raise redis.ConnectionError("reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(broker._leases["default"].queue, "requeue", lost)
        with pytest.raises(ConnectionClosed):
            next(first)
    first.close()  # as Dramatiq does before it makes the next one
    second = bench.consumer(broker, prefetch=2, timeout_ms=200)
    second.ack(suspect)

    assert fetched(second).args == ("after",)


def test_a_closed_consumer_does_not_keep_the_leases_of_what_it_could_not_give_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = bench.broker(lease_s=600)
    record = bench.recorder(broker)
    record.send(1)
    record.send(2)
    first = bench.consumer(broker, prefetch=2)
    one = fetched(first)

    def lost(entry_ids: object) -> int:
        raise redis.ConnectionError("reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(broker._leases["default"].queue, "requeue", lost)
        with pytest.raises(ConnectionClosed):
            first.close()

    assert broker._leases["default"].ids() == [one.entry_id]


def test_what_has_killed_three_processes_does_not_run_again_because_a_suspect_runs_alone(bench: Bench) -> None:
    dead, broker = bench.broker(lease_s=600), bench.broker(lease_s=600)
    record = bench.recorder(dead)
    for value in ("suspect", "condemned"):
        bench.client.xadd(bench.keys.stream, {"m": record.message(value).encode(), "c": 2})
    queue = bench.broker(lease_s=600)._queue("default")
    queue.create_group()
    suspect, condemned = queue.read(Exchange(bench.client), count=2, block_s=1)
    assert queue.mark_alone(condemned.id)
    assert queue.disown([condemned.id]) == 2

    consumer = bench.consumer(broker, prefetch=2, timeout_ms=200)
    assert fetched(consumer).args == ("suspect",)
    assert next(consumer) is None

    assert suspect.body in [fields.get(b"m") for _, fields in bench.stream()]
    assert condemned.body not in [fields.get(b"m") for _, fields in bench.stream()]
    [letter] = DeadLetters(bench.client, bench.namespace).list()
    assert (letter.reason, letter.attempts) == (DeadReason.CRASHED, 3)


def test_what_has_killed_three_processes_is_a_dead_letter_although_that_could_not_be_written_at_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = bench.broker(lease_s=600)
    bench.client.xadd(bench.keys.stream, {"m": bench.recorder(broker).message("condemned").encode(), "c": 2})
    queue = bench.broker(lease_s=600)._queue("default")
    queue.create_group()
    [condemned] = queue.read(Exchange(bench.client), count=1, block_s=1)
    assert queue.mark_alone(condemned.id)
    assert queue.disown([condemned.id]) == 1
    first = bench.consumer(broker, timeout_ms=200)

    def lost(entry_id: str, **options: object) -> bool:
        raise redis.ConnectionError("reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(first._queue, "finish", lost)
        with pytest.raises(ConnectionClosed):
            next(first)
    first.close()
    assert next(bench.consumer(broker, timeout_ms=200)) is None

    [letter] = DeadLetters(bench.client, bench.namespace).list()
    assert (letter.reason, letter.attempts) == (DeadReason.CRASHED, 3)


def test_a_dead_letter_that_a_process_died_before_writing_is_written_by_the_next(bench: Bench) -> None:
    broker = bench.broker(lease_s=600)
    bench.client.xadd(bench.keys.stream, {"m": bench.recorder(broker).message("condemned").encode(), "c": 2})
    queue, second = (bench.broker(lease_s=600)._queue("default") for _ in range(2))
    queue.create_group()
    [condemned] = queue.read(Exchange(bench.client), count=1, block_s=1)
    assert queue.mark_alone(condemned.id)
    assert queue.disown([condemned.id]) == 1
    [taken] = second.claim(count=1, idle_s=1, orphans_only=True)
    assert taken.condemned
    assert second.disown([]) == 1  # it has died of something else

    assert next(bench.consumer(broker, timeout_ms=200)) is None

    [letter] = DeadLetters(bench.client, bench.namespace).list()
    assert (letter.reason, letter.attempts) == (DeadReason.CRASHED, 3)


def test_what_has_killed_three_processes_is_a_dead_letter_although_a_suspect_of_another_queue_runs_alone(
    bench: Bench,
) -> None:
    broker = bench.broker(lease_s=600)
    record = bench.recorder(broker)
    bench.client.xadd(bench.keys.stream, {"m": record.message("condemned").encode(), "c": 2})
    queue = bench.broker(lease_s=600)._queue("default")
    queue.create_group()
    [condemned] = queue.read(Exchange(bench.client), count=1, block_s=1)
    assert queue.mark_alone(condemned.id)
    assert queue.disown([condemned.id]) == 1
    consumer = bench.consumer(broker, timeout_ms=200)
    claim = consumer._queue.claim

    def claimed_as_another_queue_begins(**options: Any) -> list[Any]:
        entries = claim(**options)
        broker._solo.admit_alone(("other", "1-0"), timeout_s=0)
        return entries

    consumer._queue.claim = claimed_as_another_queue_begins  # type: ignore[method-assign]

    assert next(consumer) is None

    [letter] = DeadLetters(bench.client, bench.namespace).list()
    assert (letter.reason, letter.attempts) == (DeadReason.CRASHED, 3)
    assert condemned.body not in [fields.get(b"m") for _, fields in bench.stream()]


@pytest.mark.parametrize("ahead_s", [600, -600])
def test_expiry_does_not_mind_clocks_that_are_ten_minutes_apart(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    real = time.time
    web, worker = bench.broker(), bench.broker(ServerAgeLimit())
    record = bench.recorder(web)
    bench.recorder(worker)
    monkeypatch.setattr(time, "time", lambda: real() + ahead_s)
    web.enqueue(record.message("young").copy(options={"max_age": 60_000}))
    old = record.message("old")
    web.enqueue(old.copy(message_timestamp=old.message_timestamp - 61_000, options={"max_age": 60_000}))
    monkeypatch.undo()

    bench.work(worker)

    worker.join("default", timeout=20_000)
    assert bench.runs == ["young"]
