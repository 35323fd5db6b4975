"""The register of live workers: who is alive is on the server's clock, and no failure of it disturbs a worker."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue.keys import worker_index_key, worker_key
from weighbridge.lanes.queue.register import INDEX_TTL_S, Register, WorkerRecord
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.worker.registration import Registration, registration_of


def eventually(condition: Callable[[], object], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def record(worker_id: str = "one", **changes: Any) -> WorkerRecord:
    values: dict[str, Any] = {
        "id": worker_id,
        "host": "host",
        "pid": 1,
        "queues": ("default",),
        "threads": 8,
        "started_s": 0.0,
        "versions": {"weighbridge": "1"},
        "tasks": {},
    }
    return WorkerRecord(**{**values, **changes})


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex}"


@contextlib.contextmanager
def registered(client: redis.Redis, namespace: str, *, ttl_s: float, worker_id: str = "one") -> Iterator[Registration]:
    registration = Registration(client=client, namespace=namespace, record=record(worker_id), ttl_s=ttl_s)
    registration.start()
    try:
        yield registration
    finally:
        registration.stop()


def test_a_process_is_in_the_register_while_it_lives_and_not_after_it_stopped(
    client: redis.Redis, namespace: str
) -> None:
    register = Register(client, namespace)
    with registered(client, namespace, ttl_s=0.8):
        eventually(register.live)
        time.sleep(1)  # longer than a record lives by itself
        (found,) = register.live()
        assert found.id == "one"
        assert abs(found.started_s - register.now_s()) < 10
    assert register.live() == ()
    assert list(client.scan_iter(f"{namespace}:*")) == []


def test_a_record_says_how_long_ago_its_process_was_heard_of(client: redis.Redis, namespace: str) -> None:
    register = Register(client, namespace)
    register.enter(record())
    client.pexpire(worker_key(namespace, "one"), 18_000)

    (found,) = register.live()

    assert 42 <= found.silent_s < 60


def test_a_process_that_was_killed_vanishes_by_itself(client: redis.Redis, namespace: str) -> None:
    register = Register(client, namespace, ttl_s=0.3)
    register.enter(record())
    (found,) = register.live()
    assert replace(found, silent_s=0.0) == record()

    eventually(lambda: register.live() == ())


def test_every_key_of_the_register_has_a_time_to_live(client: redis.Redis, namespace: str) -> None:
    Register(client, namespace).enter(record())

    keys = list(client.scan_iter(f"{namespace}:*"))
    assert len(keys) == 2
    assert all(client.ttl(key) > 0 for key in keys)


def test_the_index_forgets_who_has_long_been_silent(client: redis.Redis, namespace: str) -> None:
    register = Register(client, namespace)
    client.zadd(
        worker_index_key(namespace), {"long-dead": register.now_s() - INDEX_TTL_S - 1, "mute": register.now_s()}
    )

    register.enter(record())

    assert client.zrange(worker_index_key(namespace), 0, -1) == [b"mute", b"one"]
    assert [each.id for each in register.live()] == ["one"]


def test_a_record_that_was_lost_is_entered_anew(client: redis.Redis, namespace: str) -> None:
    register = Register(client, namespace)
    with registered(client, namespace, ttl_s=0.4):
        eventually(register.live)
        client.delete(worker_index_key(namespace), worker_key(namespace, "one"))

        eventually(register.live)


def test_a_record_of_another_version_is_passed_over(client: redis.Redis, namespace: str) -> None:
    register = Register(client, namespace)
    register.enter(record())
    for text in ("no json", "[]", '{"id": "two"}'):
        client.set(worker_key(namespace, "two"), text)
        client.zadd(worker_index_key(namespace), {"two": register.now_s()})
        assert [each.id for each in register.live()] == ["one"]


def test_a_server_that_is_away_is_waited_for_without_a_word(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedServer.start() as server:
        client = redis.Redis.from_url(server.url)
    with registered(client, namespace, ttl_s=0.2) as registration:
        time.sleep(0.3)
        assert registration.is_alive()
    assert not registration.is_alive()
    assert caplog.records == []


def test_a_process_that_may_not_register_says_so_once(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedServer.start() as server:
        root = redis.Redis.from_url(server.url)
        root.acl_setuser(
            "worker", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-set", "-pexpire"]
        )
        client = redis.Redis.from_url(server.url, username="worker", password="any")
        with registered(client, namespace, ttl_s=0.2):
            eventually(lambda: caplog.records)
            time.sleep(0.3)
            root.acl_setuser("worker", commands=["+@all"])
            eventually(Register(root, namespace).live)
    [told] = [each for each in caplog.records if getattr(each, "event", "") == "worker.not_registered"]
    assert "no permissions" in told.getMessage()


def test_an_idle_registration_costs_one_command_a_turn(namespace: str) -> None:
    with EmbeddedServer.start() as server:
        root = redis.Redis.from_url(server.url)
        client = redis.Redis.from_url(server.url)
        with registered(client, namespace, ttl_s=0.4):
            eventually(Register(root, namespace).live)
            calls = [root.info("commandstats")]
            time.sleep(1)
            calls.append(root.info("commandstats"))
        changed = {
            name: stats["calls"] - calls[0].get(name, {"calls": 0})["calls"]
            for name, stats in calls[1].items()
            if stats != calls[0].get(name)
        }
        assert set(changed) <= {"cmdstat_pexpire", "cmdstat_info"}
        assert 5 <= changed["cmdstat_pexpire"] <= 12


def test_a_broker_of_another_kind_has_no_register(redis_url: str) -> None:
    from dramatiq.brokers.stub import StubBroker

    assert registration_of(StubBroker(), queues=("default",), threads=1) is None
    client = redis.Redis.from_url(redis_url)
    ours = StreamsBroker(client=client, middleware=[])
    assert registration_of(ours, queues=("default",), threads=1) is not None
    client.close()
