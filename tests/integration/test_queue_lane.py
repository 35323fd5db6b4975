"""The queue lane on a real server: accepted calls are there once, and every fault is told as what it is."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from typing import Any, Final
from uuid import UUID, uuid4

import anyio
import anyio.to_thread
import dramatiq
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, Middleware, MiddlewareError, Retries

from weighbridge.call import Call, CallOptions
from weighbridge.decision import Decision, Lane
from weighbridge.declaration import task
from weighbridge.embedded import EmbeddedServer
from weighbridge.errors import BrokerError, EnqueueError, LaneFullError, NotOpenError, OptionError
from weighbridge.lanes.queue import QueueLane, connect
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.task import registry

pytestmark = pytest.mark.anyio

BOTH_LOOPS: Final = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
QUEUED: Final = Decision(lane=Lane.QUEUE, reason="a test", rule="test")
RUNS: list[UUID] = []
WORDS: list[dict[str, str]] = []


@task(weight=200, name="lane.charge", queue="charges")
def charge(order: UUID, cents: int = 1) -> None:
    RUNS.append(order)


@task(name="lane.mail", queue="mails")
async def mail(order: UUID) -> None:
    RUNS.append(order)


@task(name="lane.odd", queue="charges")
def odd(self: str, cls: str, func: str, name: str, args: str, kwargs: str, message: str, broker: str) -> None:
    WORDS.append(locals())


@task(name="lane.odd_async", queue="mails")
async def odd_async(self: str, delay: str, spec: str, options: str, queue_name: str, *, call: str) -> None:
    WORDS.append(locals())


def call_of(func: Callable[..., Any], *args: Any, keywords: Mapping[str, Any] | None = None, **options: Any) -> Call:
    spec = registry.of(func)
    assert spec is not None
    return Call(
        id=str(uuid4()),
        name=spec.name,
        func=func,
        args=args,
        kwargs=keywords or {},
        spec=spec,
        is_async=spec.is_async,
        decision=QUEUED,
        context=Context(),
        added_at_s=0.0,
        options=CallOptions(**options),
        payload=spec.codec.encode(args, keywords or {}),
    )


def charges(count: int) -> list[Call]:
    return [call_of(charge, uuid4()) for _ in range(count)]


@asynccontextmanager
async def lane_on(
    broker: dramatiq.Broker, *, timeout_s: float = 5, waiting_limit: int = 1_000, close_broker: bool = True
) -> AsyncIterator[QueueLane]:
    lane = QueueLane(broker=broker, timeout_s=timeout_s, waiting_limit=waiting_limit, close_broker=close_broker)
    lane.open()
    try:
        yield lane
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lane.close)


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid4().hex}"


@pytest.fixture
def broker(redis_url: str, namespace: str) -> dramatiq.Broker:
    return connect(redis_url, namespace=namespace, timeout_s=5)


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A server of the test's own, on a port, to be hurt."""
    with EmbeddedServer.start(tcp=True) as server:
        yield server


@contextmanager
def admin(url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(url)
    try:
        yield client
    finally:
        client.close()


def queued_ids(url: str, namespace: str, queue: str = "charges") -> list[str]:
    """The ids of the messages in a queue, in order."""
    with admin(url) as client:
        entries: Any = client.xrange(f"{namespace}:{{{queue}}}:stream")
    return [dramatiq.Message.decode(fields[b"m"]).message_id for _, fields in entries if b"m" in fields]


def set_key(url: str, key: str) -> None:
    with admin(url) as client:
        client.set(key, "no sorted set")


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(15):
        while not condition():  # noqa: ASYNC110  # the lane has no event for it
            await anyio.sleep(0.005)


async def back(lane: QueueLane) -> None:
    """Wait until the breaker is closed, which no request brings about."""
    await until(lambda: not lane.refuses)


async def in_thread(func: Callable[..., Any], *args: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: func(*args))


@contextmanager
def frozen(server: EmbeddedServer, *, for_s: float | None = None) -> Iterator[None]:
    """The server accepts connections and answers nothing: for ``for_s`` seconds, or until this is left."""
    os.kill(server.pid, signal.SIGSTOP)
    timer = threading.Timer(for_s or 3600, os.kill, (server.pid, signal.SIGCONT))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        os.kill(server.pid, signal.SIGCONT)


class Proxy:
    """Stands before a server, and swallows the answers to the next ``swallow`` commands that contain ``what``."""

    def __init__(self, url: str, *, what: bytes = b"EVALSHA") -> None:
        address, _, self._place = url.rpartition("@")
        host, _, port = self._place.partition("/")[0].partition(":")
        self._upstream = (host, int(port))
        self._what = what
        self.swallow = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{address}@127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
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
            threading.Thread(target=self._serve, args=(client, upstream), daemon=True).start()

    def _serve(self, client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(1 << 20):
                upstream.sendall(request)
                answer = upstream.recv(1 << 20)
                if self.swallow and self._what in request:
                    self.swallow -= 1
                    break
                client.sendall(answer)
        client.close()
        upstream.close()


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[Proxy]:
    proxy = Proxy(server.url)
    yield proxy
    proxy.close()


# -- accepted ------------------------------------------------------------------------------------------------


@BOTH_LOOPS
async def test_committed_calls_are_in_their_queues_in_order(
    broker: dramatiq.Broker, redis_url: str, namespace: str
) -> None:
    calls = [*charges(3), call_of(mail, uuid4())]
    async with lane_on(broker) as lane:
        await lane.commit(calls)
    assert await in_thread(queued_ids, redis_url, namespace) == [call.id for call in calls[:3]]
    assert await in_thread(queued_ids, redis_url, namespace, "mails") == [calls[3].id]


@BOTH_LOOPS
async def test_many_requests_at_once_lose_and_double_nothing(
    broker: dramatiq.Broker, redis_url: str, namespace: str
) -> None:
    requests = [[charges(2) for _ in range(10)] for _ in range(32)]

    async def client(mine: list[list[Call]]) -> None:
        for calls in mine:
            await lane.commit(calls)

    async with lane_on(broker) as lane, anyio.create_task_group() as group:
        for mine in requests:
            group.start_soon(client, mine)
    stored = await in_thread(queued_ids, redis_url, namespace)
    assert sorted(stored) == sorted(call.id for mine in requests for calls in mine for call in calls)
    place = {call_id: number for number, call_id in enumerate(stored)}
    for mine in requests:
        places = [place[call.id] for calls in mine for call in calls]
        assert places == sorted(places), "each client's calls are in the order in which it committed them"


def test_a_thread_commits_too(broker: dramatiq.Broker, redis_url: str, namespace: str) -> None:
    calls = charges(2)
    lane = QueueLane(broker=broker, timeout_s=5, waiting_limit=10, close_broker=True)
    lane.open()
    lane.commit_blocking(calls)
    lane.commit_blocking([])
    lane.close()
    assert queued_ids(redis_url, namespace) == [call.id for call in calls]


async def test_a_worker_runs_what_was_committed_with_the_values_that_were_given(
    broker: dramatiq.Broker, redis_url: str, namespace: str
) -> None:
    RUNS.clear()
    orders = [uuid4(), uuid4()]
    async with lane_on(broker) as lane:
        await lane.commit([call_of(charge, orders[0]), call_of(mail, orders[1])])
    await in_thread(run_worker, redis_url, namespace)
    assert sorted(RUNS) == sorted(orders)


@pytest.mark.parametrize("own", [True, False])
async def test_a_parameter_may_have_any_name(own: bool, redis_url: str, namespace: str) -> None:
    WORDS.clear()
    connected = ours if own else dramatiqs
    expected = [{word: word for word in inspect.signature(func).parameters} for func in (odd, odd_async)]
    async with lane_on(connected(redis_url, namespace)) as lane:
        await lane.commit([call_of(odd, keywords=expected[0]), call_of(odd_async, keywords=expected[1])])
    await in_thread(run_worker_of, connected(redis_url, namespace))
    assert sorted(WORDS, key=len) == sorted(expected, key=len)


async def test_a_delayed_call_runs_later(broker: dramatiq.Broker, redis_url: str, namespace: str) -> None:
    RUNS.clear()
    first, second = uuid4(), uuid4()
    async with lane_on(broker) as lane:
        await lane.commit([call_of(charge, second, delay_s=0.3), call_of(charge, first)])
        assert await in_thread(lane.waiting_in, "charges") == 1
    await in_thread(run_worker, redis_url, namespace)
    assert [first, second] == RUNS


async def test_a_call_that_expired_before_a_worker_came_does_not_run(
    broker: dramatiq.Broker, redis_url: str, namespace: str
) -> None:
    RUNS.clear()
    kept = uuid4()
    async with lane_on(broker) as lane:
        await lane.commit([call_of(charge, uuid4(), expires_s=0.01), call_of(charge, kept, expires_s=60)])
    await anyio.sleep(0.02)  # no waiting for anything: this is the time in which the call expires
    await in_thread(run_worker, redis_url, namespace)
    assert [kept] == RUNS


def dramatiqs(url: str, namespace: str) -> RedisBroker:
    return RedisBroker(url=url, namespace=namespace, middleware=default_middleware())  # type: ignore[no-untyped-call]  # Dramatiq's


def ours(url: str, namespace: str) -> StreamsBroker:
    broker = connect(url, namespace=namespace, timeout_s=5)
    assert isinstance(broker, StreamsBroker)
    return broker


def run_worker(url: str, namespace: str) -> None:
    run_worker_of(ours(url, namespace))


def run_worker_of(broker: StreamsBroker | RedisBroker) -> None:
    """Dramatiq's own worker, until both queues are empty."""
    for func in (charge, mail, odd, odd_async):
        spec = registry.of(func)
        assert spec is not None
        QueueLane(broker=broker, timeout_s=5, waiting_limit=1, close_broker=False).bind(spec)
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    for queue in ("charges", "mails"):
        broker.join(queue, timeout=20_000)
    worker.stop()
    broker.close()
    broker.client.close()


async def test_a_task_that_was_declared_after_the_opening_is_bound_at_its_first_commit(
    broker: dramatiq.Broker,
) -> None:
    async with lane_on(broker) as lane:
        assert "lane.charge" not in broker.get_declared_actors()
        await lane.commit(charges(1))
        assert "lane.charge" in broker.get_declared_actors()


async def test_nothing_is_sent_for_no_calls() -> None:
    broker = connect("redis://127.0.0.1:1", namespace="nowhere", timeout_s=0.5)
    async with lane_on(broker) as lane:
        await lane.commit([])
        assert lane.available() is None


class Signals(Middleware):
    """Notes what Dramatiq tells middleware, and rejects the calls that it is told to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.rejected: set[str] = set()

    def before_enqueue(self, broker: dramatiq.Broker, message: Any, delay: int | None) -> None:
        self.told.append(("before", message.message_id))
        if message.message_id in self.rejected:
            raise MiddlewareError("not this one")

    def after_enqueue(self, broker: dramatiq.Broker, message: Any, delay: int | None) -> None:
        self.told.append(("after", message.message_id))


async def test_middleware_sees_each_message_before_and_after(broker: dramatiq.Broker) -> None:
    signals = Signals()
    broker.add_middleware(signals)
    one, two = charges(2)
    async with lane_on(broker) as lane:
        await lane.commit([one, two])
    assert signals.told == [("before", one.id), ("before", two.id), ("after", one.id), ("after", two.id)]


async def test_a_message_that_middleware_rejects_takes_its_request_along_and_no_other(
    broker: dramatiq.Broker, redis_url: str, namespace: str
) -> None:
    signals = Signals()
    broker.add_middleware(signals)
    good, bad = [charges(2) for _ in range(10)], charges(3)
    signals.rejected.add(bad[1].id)
    refused: list[EnqueueError] = []

    async def client(calls: list[Call]) -> None:
        try:
            await lane.commit(calls)
        except EnqueueError as error:
            refused.append(error)

    async with lane_on(broker) as lane, anyio.create_task_group() as group:
        for calls in (*good[:5], bad, *good[5:]):
            group.start_soon(client, calls)
    [error] = refused
    assert not error.unknown
    assert error.tasks == ("lane.charge",) * 3
    assert isinstance(error.__cause__, MiddlewareError)
    stored = await in_thread(queued_ids, redis_url, namespace)
    assert sorted(stored) == sorted(call.id for calls in good for call in calls)


# -- faults --------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_certainly_has_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broker = connect("redis://user:hunter2@127.0.0.1:1/0", namespace="nowhere", timeout_s=0.5)
    async with lane_on(broker, timeout_s=0.5) as lane:
        causes: list[BaseException | None] = []
        for _ in range(3):
            with pytest.raises(EnqueueError, match=r"redis 127\.0\.0\.1:1 .*cannot be reached.*start it") as caught:
                await lane.commit(charges(2))
            assert not caught.value.unknown
            assert caught.value.tasks == ("lane.charge", "lane.charge")
            causes.append(caught.value.__cause__)
        assert isinstance(causes[0], redis.ConnectionError)
        assert causes[1:] == [None, None], "the breaker is open, and nothing was tried"
        assert lane.available() is False
        with pytest.raises(BrokerError, match="cannot be reached") as unreachable:
            await in_thread(lane.ping)
        assert "hunter2" not in f"{caught.value}{unreachable.value}"
    lost = [record for record in caplog.records if record.__dict__.get("event") == "queue.broker_lost"]
    assert len(lost) == 1, "it is logged when it changes, not at each request"


async def test_a_server_that_comes_back_is_used_again(
    server: EmbeddedServer, proxy: Proxy, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="weighbridge.queue")
    async with lane_on(connect(proxy.url, namespace=namespace, timeout_s=0.5), timeout_s=0.5) as lane:
        with frozen(server):
            with pytest.raises(EnqueueError):
                await lane.commit(charges(1))
            await until(lambda: lane.refuses)  # the publisher's last attempt ends after the request's time
        assert lane.available() is False
        await back(lane)
        [call] = charges(1)
        await lane.commit([call])
        assert lane.available() is True
    assert call.id in await in_thread(queued_ids, server.url, namespace)
    assert "queue.broker_back" in caplog.text


async def test_a_short_silence_costs_no_request(server: EmbeddedServer, namespace: str) -> None:
    """A write of unknown fate is repeated within its time, and there is one message all the same."""
    async with lane_on(connect(server.url, namespace=namespace, timeout_s=2), timeout_s=2) as lane:
        await lane.commit(charges(1))
        [call] = charges(1)
        with frozen(server, for_s=0.9):
            await lane.commit([call])
    assert (await in_thread(queued_ids, server.url, namespace)).count(call.id) == 1


async def test_a_long_silence_is_unknown_and_leaves_the_loop_free(server: EmbeddedServer, namespace: str) -> None:
    async with lane_on(connect(server.url, namespace=namespace, timeout_s=0.5), timeout_s=0.5) as lane:
        await lane.commit(charges(1))
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0.01)
                ticks += 1

        [call] = charges(1)
        with frozen(server):
            async with anyio.create_task_group() as group:
                group.start_soon(tick)
                with pytest.raises(EnqueueError) as caught:
                    await lane.commit([call])
                group.cancel_scope.cancel()
        assert caught.value.unknown
        assert ticks >= 10, "the loop ran on while the server was silent"
    assert (await in_thread(queued_ids, server.url, namespace)).count(call.id) <= 1


async def test_a_silence_from_the_start_is_certain(server: EmbeddedServer, namespace: str) -> None:
    """Nothing was sent but a greeting, so nothing is there."""
    async with lane_on(connect(server.url, namespace=namespace, timeout_s=0.5), timeout_s=0.5) as lane:
        with frozen(server), pytest.raises(EnqueueError) as caught:
            await lane.commit(charges(1))
        assert not caught.value.unknown
    assert await in_thread(queued_ids, server.url, namespace) == []


async def test_a_call_that_the_server_cannot_write_takes_its_request_along_and_no_other(
    server: EmbeddedServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    # A key of another type makes the script fail at the delayed call, after it has written a part.
    good, bad = [charges(2) for _ in range(10)], [call_of(charge, uuid4(), delay_s=60)]
    await in_thread(set_key, server.url, f"{namespace}:{{charges}}:delayed")
    refused: list[EnqueueError] = []

    async def client(calls: list[Call]) -> None:
        try:
            await lane.commit(calls)
        except EnqueueError as error:
            refused.append(error)

    async with lane_on(connect(server.url, namespace=namespace, timeout_s=5)) as lane:
        first = charges(1)
        await lane.commit(first)
        async with anyio.create_task_group() as group:
            with frozen(server):
                for calls in (*good[:5], bad, *good[5:]):
                    group.start_soon(client, calls)
                with anyio.fail_after(5):
                    while lane.waiting < 21:  # noqa: ASYNC110  # the lane has no event for it
                        await anyio.sleep(0.01)
        assert lane.available()
    [error] = refused
    assert error.unknown
    assert "answered with an error" in str(error)
    assert "queue.broker_lost" not in caplog.text
    stored = await in_thread(queued_ids, server.url, namespace)
    assert sorted(stored) == sorted(call.id for calls in (first, *good) for call in calls)


async def test_those_who_wait_behind_a_silence_are_told_that_nothing_was_written(
    server: EmbeddedServer, namespace: str
) -> None:
    async with lane_on(connect(server.url, namespace=namespace, timeout_s=0.5), timeout_s=0.5) as lane:
        await lane.commit(charges(1))
        fates: list[bool] = []

        async def client(calls: list[Call]) -> None:
            with pytest.raises(EnqueueError) as caught:
                await lane.commit(calls)
            fates.append(caught.value.unknown)

        late = charges(1)
        with frozen(server):
            async with anyio.create_task_group() as group:
                group.start_soon(client, charges(1))
                await anyio.sleep(0.1)
                group.start_soon(client, late)
        # The second may have been tried in the time that was left to it, so its fate is either; never a lie.
        assert fates[0] is True
        if fates[1] is False:
            assert late[0].id not in await in_thread(queued_ids, server.url, namespace)


async def test_a_lost_reply_leaves_one_message(server: EmbeddedServer, proxy: Proxy, namespace: str) -> None:
    async with lane_on(connect(proxy.url, namespace=namespace, timeout_s=5)) as lane:
        await lane.commit(charges(1))
        proxy.swallow = 2
        [call] = charges(1)
        await lane.commit([call])
        assert proxy.swallow == 0
    assert (await in_thread(queued_ids, server.url, namespace)).count(call.id) == 1


def test_dramatiqs_own_broker_doubles_a_call_whose_reply_was_lost(proxy: Proxy) -> None:
    """The control: without it, the test above would prove nothing."""
    address = redis.connection.parse_url(proxy.url)  # type: ignore[no-untyped-call]  # redis-py's
    address = {key: address[key] for key in ("host", "port", "password")}
    plain = RedisBroker(**address, namespace="plain")  # type: ignore[no-untyped-call]  # Dramatiq's

    @dramatiq.actor(broker=plain, actor_name="plain")
    def actor() -> None: ...

    actor.send()
    proxy.swallow = 2
    actor.send()
    assert proxy.swallow == 0
    length: Any = plain.client.llen("plain:default")
    plain.client.close()
    assert length == 4


async def test_connections_that_the_server_has_closed_are_replaced_without_a_failure(
    server: EmbeddedServer, namespace: str
) -> None:
    async with lane_on(connect(server.url, namespace=namespace, timeout_s=5)) as lane:
        await lane.commit(charges(1))
        with admin(server.url) as client:
            await in_thread(lambda: client.client_kill_filter(_type="normal", skipme=True))
            await in_thread(lambda: client.script_flush("SYNC"))
        await lane.commit(charges(1))
    assert len(await in_thread(queued_ids, server.url, namespace)) == 2


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "out of memory; raise its maxmemory"),
        (("REPLICAOF", "127.0.0.1", "1"), "read-only replica; let WEIGHBRIDGE_BROKER_URL name the primary"),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), "misses replicas"),
        (("ACL", "SETUSER", "default", "-evalsha"), "does not let this user write; grant"),
    ],
)
async def test_a_server_that_refuses_writes_certainly_has_nothing(
    server: EmbeddedServer, namespace: str, command: tuple[str, ...], told: str
) -> None:
    async with lane_on(connect(server.url, namespace=namespace, timeout_s=5)) as lane:
        await lane.commit(charges(1))
        with admin(server.url) as client:
            await in_thread(client.execute_command, *command)
            with pytest.raises(EnqueueError, match=told) as caught:
                await lane.commit(charges(2))
            assert not caught.value.unknown
            if command[0] == "ACL":
                await in_thread(client.execute_command, "ACL", "SETUSER", "default", "+evalsha")
    assert len(await in_thread(queued_ids, server.url, namespace)) == 1


@pytest.mark.parametrize(
    ("password", "told"), [("wrong", "rejects the user or the password"), ("", "asks for a password")]
)
async def test_a_wrong_password_is_told_and_not_shown(
    server: EmbeddedServer, namespace: str, password: str, told: str
) -> None:
    place = server.url.rpartition("@")[2]
    url = f"redis://:{password}@{place}" if password else f"redis://{place}"
    async with lane_on(connect(url, namespace=namespace, timeout_s=5)) as lane:
        with pytest.raises(EnqueueError, match=told) as caught:
            await lane.commit(charges(1))
        assert not caught.value.unknown
        with pytest.raises(BrokerError, match=told) as unusable:
            await in_thread(lane.ping)
    assert unusable.value.remedy.startswith(("correct", "put one"))
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


# -- bounds, cancellation, opening and closing ---------------------------------------------------------------


async def test_a_lane_that_is_full_refuses_at_once(server: EmbeddedServer, namespace: str) -> None:
    broker = connect(server.url, namespace=namespace, timeout_s=0.5)
    async with lane_on(broker, timeout_s=0.5, waiting_limit=2) as lane:
        await lane.commit(charges(1))

        async def client() -> None:
            with pytest.raises(EnqueueError):
                await lane.commit(charges(2))

        with frozen(server):
            async with anyio.create_task_group() as group:
                group.start_soon(client)
                await anyio.wait_all_tasks_blocked()
                assert lane.waiting == 2
                with pytest.raises(LaneFullError, match="publisher_waiting=2"):
                    await lane.commit(charges(1))
        assert lane.waiting == 0


@BOTH_LOOPS
async def test_a_cancelled_request_is_written_and_learns_it_before_it_ends(
    server: EmbeddedServer, namespace: str
) -> None:
    async with lane_on(connect(server.url, namespace=namespace, timeout_s=5)) as lane:
        await lane.commit(charges(1))
        cancelled, ended = charges(1), []

        async def first() -> None:
            await lane.commit(charges(1))

        async def second() -> None:
            with anyio.move_on_after(0.05) as scope:
                await lane.commit(cancelled)
                ended.append("committed")
                await anyio.lowlevel.checkpoint()
                ended.append("not cancelled")
            assert scope.cancelled_caught

        with frozen(server):
            async with anyio.create_task_group() as group:
                group.start_soon(first)
                group.start_soon(second)
                await anyio.sleep(0.2)
                assert ended == []
                os.kill(server.pid, signal.SIGCONT)
    assert ended == ["committed"]
    assert cancelled[0].id in await in_thread(queued_ids, server.url, namespace)


async def test_a_close_writes_what_waits(redis_url: str, namespace: str) -> None:
    """Its requests were not cancelled; they are answered."""
    calls = [charges(1) for _ in range(50)]
    accepted: list[str] = []

    async def client(mine: list[Call]) -> None:
        await lane.commit(mine)
        accepted.append(mine[0].id)

    lane = QueueLane(
        broker=connect(redis_url, namespace=namespace, timeout_s=5), timeout_s=5, waiting_limit=100, close_broker=True
    )
    lane.open()
    async with anyio.create_task_group() as group:
        for mine in calls:
            group.start_soon(client, mine)
        await anyio.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(lane.close)
    assert sorted(accepted) == sorted(mine[0].id for mine in calls)
    assert sorted(await in_thread(queued_ids, redis_url, namespace)) == sorted(accepted)


async def test_a_closed_lane_takes_nothing_until_it_is_opened_again(broker: dramatiq.Broker) -> None:
    lane = QueueLane(broker=broker, timeout_s=5, waiting_limit=10, close_broker=True)
    with pytest.raises(NotOpenError):
        await lane.commit(charges(1))
    for _ in range(2):
        lane.open()
        lane.open()
        await lane.commit(charges(1))
        await in_thread(lane.close)
        await in_thread(lane.close)
        # Of a request that outlives the service, and which another instance may answer.
        with pytest.raises(EnqueueError, match="the queue lane is closed, as this service shuts down"):
            await lane.commit(charges(1))


async def test_a_ping_needs_no_open_lane(broker: dramatiq.Broker) -> None:
    lane = QueueLane(broker=broker, timeout_s=5, waiting_limit=10, close_broker=True)
    await in_thread(lane.ping)
    assert lane.available() is True
    lane.open()
    await in_thread(lane.close)


async def test_a_ping_that_is_under_way_at_the_close_is_no_outage(
    server: EmbeddedServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def ping() -> None:
        with contextlib.suppress(BrokerError):
            await in_thread(lane.ping)

    async with lane_on(connect(server.url, namespace=namespace, timeout_s=10)) as lane:
        await lane.commit(charges(1))
        with frozen(server):
            async with anyio.create_task_group() as group:
                group.start_soon(ping)
                await anyio.sleep(0.1)  # so that the ping waits for its answer
                await in_thread(lane.close)
    assert "queue.broker_lost" not in caplog.text


PROGRAM: Final = """
import asyncio, contextvars, os, sys, time, uuid
from weighbridge.call import Call
from weighbridge.declaration import task
from weighbridge.decision import Decision, Lane
from weighbridge.errors import EnqueueError
from weighbridge.lanes.queue import QueueLane, connect
from weighbridge.task import registry

def nothing() -> None: ...
nothing.__module__ = "program"
task(name="program.nothing")(nothing)
spec = registry.of(nothing)

def call():
    return Call(id=str(uuid.uuid4()), name=spec.name, func=nothing, args=(), kwargs={}, spec=spec, is_async=False,
                decision=Decision(lane=Lane.QUEUE, reason="", rule=""), context=contextvars.Context(),
                added_at_s=0.0, payload=([], {}))

lane = QueueLane(broker=connect(sys.argv[1], namespace=sys.argv[2], timeout_s=2), timeout_s=2, waiting_limit=10,
                 close_broker=True)
lane.open()
lane.commit_blocking([call()])
"""


def run_program(code: str, url: str, namespace: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + code, url, namespace], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def test_an_interpreter_ends_although_its_lane_is_open(redis_url: str, namespace: str) -> None:
    assert run_program("print('end')", redis_url, namespace) == "end\n"


def test_a_forked_child_is_told_to_open_its_own(redis_url: str, namespace: str) -> None:
    code = """
import warnings
warnings.simplefilter("ignore")  # of the fork itself
if os.fork() == 0:
    started = time.monotonic()
    try:
        lane.commit_blocking([call()])
    except EnqueueError as error:
        print(error.unknown, "open the dispatcher in each process" in str(error), time.monotonic() - started < 1)
    sys.stdout.flush()
    os._exit(0)
os.wait()
lane.commit_blocking([call()])
"""
    assert run_program(code, redis_url, namespace) == "False True True\n"


# -- brokers of the user's own -------------------------------------------------------------------------------


class Faulty(StubBroker):
    """A broker of somebody's own, whose second write fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(middleware=[Retries(), AgeLimit()])
        self.error = error
        self.writes = 0

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        self.writes += 1
        if self.writes == 2:
            raise self.error
        return super().enqueue(message, delay=delay)


async def test_dramatiqs_redis_broker_can_be_given(redis_url: str, namespace: str) -> None:
    given = RedisBroker(url=redis_url, namespace=namespace)  # type: ignore[no-untyped-call]  # Dramatiq's
    calls = [*charges(3), call_of(charge, uuid4(), delay_s=60)]
    async with lane_on(given, close_broker=False) as lane:
        await in_thread(lane.ping)
        await lane.commit(calls)
        assert lane.available() is True
        with pytest.raises(BrokerError, match="cannot tell how many messages wait"):
            await in_thread(lane.waiting_in, "charges")
    assert await in_thread(given.client.llen, f"{namespace}:charges") == 3
    assert await in_thread(given.client.llen, f"{namespace}:charges.DQ") == 1
    given.client.close()


async def test_dramatiqs_stub_broker_can_be_given() -> None:
    given = StubBroker()
    async with lane_on(given) as lane:
        await in_thread(lane.ping)
        await lane.commit(charges(2))
    assert given.queues["charges"].qsize() == 2


async def test_a_request_of_which_a_part_was_written_is_unknown_and_says_how_much() -> None:
    given = Faulty(ConnectionResetError("reset"))
    async with lane_on(given) as lane:
        with pytest.raises(EnqueueError, match="1 of the request's 3 calls are in the queue") as caught:
            await lane.commit(charges(3))
    assert caught.value.unknown
    assert given.queues["charges"].qsize() == 1


async def test_a_broker_that_writes_one_by_one_is_not_asked_twice() -> None:
    given = Faulty(ConnectionResetError("reset"))
    async with lane_on(given) as lane:
        await lane.commit(charges(1))
        with pytest.raises(EnqueueError) as caught:
            await lane.commit(charges(1))
        assert caught.value.unknown
        assert given.writes == 2
        await back(lane)
        await lane.commit(charges(1))


async def test_an_option_that_the_broker_cannot_obey_is_refused() -> None:
    async with lane_on(StubBroker(middleware=[Retries()])) as lane:
        with pytest.raises(OptionError, match=r"expires_s=5.* no AgeLimit.*add it"):
            await lane.commit([call_of(charge, uuid4(), expires_s=5)])
        assert lane.waiting == 0


def test_a_broker_is_closed_only_by_its_maker() -> None:
    class Closing(StubBroker):
        closed = False

        def close(self) -> None:
            self.closed = True

    for close_broker in (True, False):
        given = Closing()
        lane = QueueLane(broker=given, timeout_s=5, waiting_limit=10, close_broker=close_broker)
        lane.open()
        lane.close()
        assert given.closed is close_broker
