"""The queue lane on RabbitMQ (``RABBITMQ_URL``, default the guest on 127.0.0.1): confirmed calls, told faults."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import anyio
import anyio.to_thread
import dramatiq
import pika  # type: ignore[import-untyped]  # pika ships no marker of its types
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from weighbridge import Dispatcher
from weighbridge.call import Call, CallOptions
from weighbridge.decision import Decision, Lane
from weighbridge.declaration import task
from weighbridge.errors import BrokerError, EnqueueError
from weighbridge.lanes.queue import QueueLane, connect
from weighbridge.lanes.queue.rabbitmq import PROBE_ROUTE, RabbitmqWriter
from weighbridge.task import TaskSpec, registry

pytestmark = pytest.mark.anyio

URL: Final = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")
QUEUED: Final = Decision(lane=Lane.QUEUE, reason="a test", rule="test")
RUNS: list[UUID] = []


@pytest.fixture
def spec() -> Iterator[TaskSpec]:
    """A task with a queue of the test's own, which is removed afterwards."""
    queue = f"weighbridge-test-{uuid4().hex}"

    def run(order: UUID) -> None:
        RUNS.append(order)

    RUNS.clear()
    task(name=queue, queue=queue)(run)
    spec = registry.get(queue)
    assert spec is not None
    yield spec
    registry.discard(queue)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
        channel.queue_delete(name)
    connection.close()


def call_of(spec: TaskSpec, order: UUID | None = None, **options: Any) -> Call:
    args = (order or uuid4(),)
    return Call(
        id=str(uuid4()),
        name=spec.name,
        func=spec.func,
        args=args,
        kwargs={},
        spec=spec,
        is_async=False,
        decision=QUEUED,
        context=Context(),
        added_at_s=0.0,
        options=CallOptions(**options),
        payload=spec.codec.encode(args, {}),
    )


@asynccontextmanager
async def lane_on(url: str, *, timeout_s: float = 10) -> AsyncIterator[tuple[QueueLane, RabbitmqBroker]]:
    broker = connect(url, namespace="unused", timeout_s=timeout_s)
    assert isinstance(broker, RabbitmqBroker)
    lane = QueueLane(broker=broker, timeout_s=timeout_s, waiting_limit=1_000, close_broker=True)
    lane.open()
    try:
        yield lane, broker
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lane.close)


async def in_thread(func: Callable[..., Any], *args: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: func(*args))


def stored_ids(queue: str) -> list[str]:
    """The ids of the messages in a queue, in order; it is empty afterwards."""
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    ids: list[str] = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            connection.close()
            return ids
        ids.append(dramatiq.Message.decode(body).message_id)


class Proxy:
    """Stands before RabbitMQ; can hold back all that comes from it, and knows when RabbitMQ closes a connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 5672)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"amqp://{parts.username}:{parts.password}@127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.closed_by_rabbitmq = threading.Event()
        self.flowing = threading.Event()
        self.flowing.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.flowing.set()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            upstream = socket.create_connection(self._upstream)
            self._sockets += [client, upstream]
            self.connections += 1
            threading.Thread(target=self._serve, args=(client, upstream), daemon=True).start()

    def _serve(self, client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                readable, _, _ = select.select([client, upstream], [], [])
                if client in readable:
                    data = client.recv(1 << 16)
                    if not data:
                        break
                    upstream.sendall(data)
                if upstream in readable:
                    data = self._from_rabbitmq(upstream)
                    self.flowing.wait()
                    if not data:
                        self.closed_by_rabbitmq.set()
                        break
                    client.sendall(data)
        client.close()
        upstream.close()

    def _from_rabbitmq(self, upstream: socket.socket) -> bytes:
        try:
            return upstream.recv(1 << 16)
        except ConnectionResetError:  # how RabbitMQ closes a connection that missed its heartbeats
            return b""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy(URL)
    yield proxy
    proxy.close()


# -- accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_committed_calls_are_in_the_queue_in_order(spec: TaskSpec) -> None:
    calls = [call_of(spec) for _ in range(5)]
    async with lane_on(URL) as (lane, _):
        await lane.commit(calls)
        assert lane.available() is True
    assert await in_thread(stored_ids, spec.queue) == [call.id for call in calls]


async def test_many_requests_at_once_lose_and_double_nothing(spec: TaskSpec) -> None:
    requests = [[call_of(spec) for _ in range(2)] for _ in range(64)]
    async with lane_on(URL) as (lane, _), anyio.create_task_group() as group:
        for calls in requests:
            group.start_soon(lane.commit, calls)
    stored = await in_thread(stored_ids, spec.queue)
    assert sorted(stored) == sorted(call.id for calls in requests for call in calls)


async def test_a_worker_runs_what_was_committed_now_and_later(spec: TaskSpec) -> None:
    first, second = uuid4(), uuid4()
    async with lane_on(URL) as (lane, _):
        await lane.commit([call_of(spec, second, delay_s=0.5), call_of(spec, first)])
    await in_thread(run_worker, spec)
    assert [first, second] == RUNS


async def test_a_call_that_expired_before_a_worker_came_does_not_run(spec: TaskSpec) -> None:
    kept = uuid4()
    async with lane_on(URL) as (lane, _):
        await lane.commit([call_of(spec, expires_s=0.01), call_of(spec, kept, expires_s=60)])
    await anyio.sleep(0.02)  # no waiting for anything: this is the time in which the call expires
    await in_thread(run_worker, spec)
    assert [kept] == RUNS


def run_worker(spec: TaskSpec) -> None:
    """Dramatiq's own worker, until the queue is empty."""
    broker = connect(URL, namespace="unused", timeout_s=10)
    assert isinstance(broker, RabbitmqBroker)
    QueueLane(broker=broker, timeout_s=10, waiting_limit=1, close_broker=False).bind(spec)
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    broker.join(spec.queue, min_successes=3, timeout=30_000)
    worker.join()
    worker.stop()
    broker.close()


# -- connections ---------------------------------------------------------------------------------------------


async def test_a_connection_whose_heartbeat_lapsed_is_replaced_without_a_failure(spec: TaskSpec, proxy: Proxy) -> None:
    calls = [call_of(spec), call_of(spec)]
    # One second, and RabbitMQ gives up after two: sooner than the publisher looks after an idle connection.
    async with lane_on(f"{proxy.url}?heartbeat=1") as (lane, _):
        await lane.commit(calls[:1])
        assert await in_thread(proxy.closed_by_rabbitmq.wait, 60), "RabbitMQ has not missed the heartbeat"
        await lane.commit(calls[1:])
        assert lane.available() is True
    assert proxy.connections == 2
    assert await in_thread(stored_ids, spec.queue) == [call.id for call in calls]


def test_an_idle_connection_that_is_looked_after_stays(spec: TaskSpec, proxy: Proxy) -> None:
    broker = connect(f"{proxy.url}?heartbeat=1", namespace="unused", timeout_s=10)
    assert isinstance(broker, RabbitmqBroker)
    writer = RabbitmqWriter(broker)
    message: dramatiq.Message[Any] = dramatiq.Message(
        queue_name=spec.queue, actor_name=spec.name, args=(), kwargs={}, options={}
    )
    assert writer.reach([(message, None)]) is None
    assert writer.write([(message, None)]) is None
    until_s = time.monotonic() + 4  # longer than RabbitMQ waits for a heartbeat, as the test above shows
    while time.monotonic() < until_s:
        writer.keep_alive()
        assert not proxy.closed_by_rabbitmq.wait(0.2)
    assert writer.reach([(message, None)]) is None
    assert writer.write([(message, None)]) is None
    assert proxy.connections == 1
    writer.close()


def test_a_probe_is_confirmed_and_leaves_nothing(spec: TaskSpec) -> None:
    broker = connect(URL, namespace="unused", timeout_s=10)
    assert isinstance(broker, RabbitmqBroker)
    writer = RabbitmqWriter(broker)
    assert writer.probe([spec.queue]) is None
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no queue"):
        connection.channel().queue_declare(PROBE_ROUTE, passive=True)
    connection.close()
    writer.drop()
    assert broker.connections == set()
    assert writer.probe([spec.queue]) is None, "a dropped connection is made anew"
    writer.close()


async def test_a_queue_that_was_deleted_meanwhile_is_declared_again(spec: TaskSpec) -> None:
    def delete() -> None:
        connection = pika.BlockingConnection(pika.URLParameters(URL))
        connection.channel().queue_delete(spec.queue)
        connection.close()

    call = call_of(spec)
    async with lane_on(URL) as (lane, _):
        await lane.commit([call_of(spec)])
        await in_thread(delete)
        await lane.commit([call])
    assert await in_thread(stored_ids, spec.queue) == [call.id]


async def test_the_publishers_connection_is_closed_with_the_lane_and_a_ping_leaves_none(spec: TaskSpec) -> None:
    async with lane_on(URL) as (lane, broker):
        await in_thread(lane.ping)
        assert broker.connections == set()
        await lane.commit([call_of(spec)])
        assert len(broker.connections) == 1
    assert broker.connections == set()


# -- faults --------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_certainly_has_nothing(spec: TaskSpec) -> None:
    async with lane_on("amqp://guest:hunter2@127.0.0.1:1") as (lane, _):
        with pytest.raises(EnqueueError, match=r"rabbitmq 127\.0\.0\.1:1 cannot be reached .*start it") as caught:
            await lane.commit([call_of(spec)])
        assert not caught.value.unknown
        assert lane.available() is False
        with pytest.raises(BrokerError, match="cannot be reached") as unreachable:
            await in_thread(lane.ping)
    assert "hunter2" not in f"{caught.value}{unreachable.value}"


@pytest.mark.parametrize("change", ["password", "vhost"])
async def test_a_server_that_lets_nobody_in_certainly_has_nothing(spec: TaskSpec, change: str) -> None:
    place = URL.rpartition("@")[2].partition("/")[0]
    url = f"amqp://guest:hunter2@{place}" if change == "password" else f"{URL.rstrip('/')}/no-such-vhost"
    async with lane_on(url) as (lane, _):
        with pytest.raises(EnqueueError, match="cannot be reached") as caught:
            await lane.commit([call_of(spec)])
    assert not caught.value.unknown
    assert "hunter2" not in str(caught.value)


async def test_a_silence_is_unknown_for_the_call_under_way_and_certain_for_those_behind_it(
    spec: TaskSpec, proxy: Proxy
) -> None:
    first, behind, later = call_of(spec), call_of(spec), call_of(spec)
    fates: dict[str, bool] = {}

    async def client(call: Call) -> None:
        with pytest.raises(EnqueueError) as caught:
            await lane.commit([call])
        fates[call.id] = caught.value.unknown

    async with lane_on(proxy.url, timeout_s=1) as (lane, _):
        await lane.commit([call_of(spec)])
        proxy.flowing.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(client, first)
            await anyio.sleep(0.2)  # so that the publisher is in the middle of the first
            group.start_soon(client, behind)
        proxy.flowing.set()
        with anyio.fail_after(30):
            while True:  # the confirm of the first is on its way, and frees the publisher
                with contextlib.suppress(EnqueueError):
                    await lane.commit([later])
                    break
    assert fates == {first.id: True, behind.id: False}
    stored = await in_thread(stored_ids, spec.queue)
    assert later.id in stored
    assert behind.id not in stored


# -- brokers of the user's own -------------------------------------------------------------------------------


async def test_a_broker_without_confirms_is_refused_when_the_dispatcher_or_a_worker_opens(spec: TaskSpec) -> None:
    dispatcher = Dispatcher(broker=RabbitmqBroker(url="amqp://guest:hunter2@127.0.0.1:1", middleware=[]))
    for opening in (dispatcher.__aenter__, lambda: in_thread(dispatcher.worker_broker)):
        with pytest.raises(BrokerError, match=r"rabbitmq 127\.0\.0\.1:1: .*confirm_delivery=True") as caught:
            await opening()
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("options", "warned"), [("", True), ("?blocked_connection_timeout=1", False)])
def test_a_broker_that_waits_for_ever_while_rabbitmq_is_blocked_is_warned_of(
    caplog: pytest.LogCaptureFixture, options: str, warned: bool
) -> None:
    broker = RabbitmqBroker(url=f"amqp://guest:hunter2@127.0.0.1:1{options}", confirm_delivery=True, middleware=[])
    QueueLane(broker=broker, timeout_s=1, waiting_limit=1, close_broker=False)
    assert ("queue.no_blocked_timeout broker=rabbitmq 127.0.0.1:1" in caplog.text) is warned
    assert "hunter2" not in caplog.text
