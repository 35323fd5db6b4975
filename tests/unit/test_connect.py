"""From an address to a broker: what is set explicitly, what is refused, and what is never shown."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from redis.sentinel import SentinelConnectionPool, SentinelManagedSSLConnection

from weighbridge.embedded.choice import shown_place
from weighbridge.errors import SettingsError, WeighbridgeError
from weighbridge.lanes.queue import connect, describe
from weighbridge.lanes.queue.primary import address_of
from weighbridge.lanes.queue.streams import StreamsBroker

SECRET = "hunter2"


def redis_options(url: str, *, timeout_s: float = 0.5) -> dict[str, Any]:
    broker = connect(url, namespace="test", timeout_s=timeout_s)
    assert isinstance(broker, StreamsBroker)
    pool = broker.client.connection_pool
    options: dict[str, Any] = {**pool.connection_kwargs, "connection_class": pool.connection_class}
    broker.client.close()
    return options


def rabbitmq_parameters(url: str) -> list[Any]:
    broker = connect(url, namespace="test", timeout_s=0.5)
    assert isinstance(broker, RabbitmqBroker)
    assert broker.confirm_delivery
    parameters: Any = broker.parameters
    return list(parameters)


def refusal(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        connect(url, namespace="test", timeout_s=0.5)
    assert caught.value.setting == "broker_url"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "the cause's text may hold the password"
    return str(caught.value)


def test_a_redis_client_has_short_times_and_repeats_nothing() -> None:
    options = redis_options("redis://user:secret@example.org:6390/3", timeout_s=0.5)
    assert (options["host"], options["port"], options["db"]) == ("example.org", 6390, 3)
    assert (options["username"], options["password"]) == ("user", "secret")
    assert options["socket_timeout"] == pytest.approx(0.15)
    assert options["socket_connect_timeout"] == 0.5
    assert options["retry"].get_retries() == 0
    assert options["health_check_interval"] == 0
    assert options["protocol"] == 2


def test_tls_and_unix_sockets_are_connected_as_such() -> None:
    assert issubclass(redis_options("rediss://example.org?ssl_cert_reqs=none")["connection_class"], redis.SSLConnection)
    options = redis_options("unix:///run/redis.sock?db=2")
    assert options["connection_class"] is redis.UnixDomainSocketConnection
    assert (options["path"], options["db"]) == ("/run/redis.sock", 2)


def test_sentinels_are_asked_for_the_primary_with_their_own_login_and_short_times() -> None:
    url = "rediss://user:secret@one,two:7000/3?sentinel=shop&sentinel_password=other&ssl_cert_reqs=none"
    broker = connect(url, namespace="test", timeout_s=0.5)
    assert isinstance(broker, StreamsBroker)
    pool = broker.client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.connection_class is SentinelManagedSSLConnection
    assert (pool.service_name, pool.is_master) == ("shop", True)
    options = pool.connection_kwargs
    assert (options["db"], options["username"], options["password"]) == (3, "user", "secret")
    assert options["retry"].get_retries() == 0
    asked = [each.connection_pool for each in pool.sentinel_manager.sentinels]
    assert [(each.connection_kwargs["host"], each.connection_kwargs["port"]) for each in asked] == [
        ("one", 26379),
        ("two", 7000),
    ]
    for each in asked:
        assert issubclass(each.connection_class, redis.SSLConnection)
        assert each.connection_kwargs["password"] == "other"
        assert each.connection_kwargs["socket_timeout"] == pytest.approx(0.15)
        assert each.connection_kwargs["retry"].get_retries() == 0


def test_a_clusters_address_is_a_connection_that_follows_the_namespace() -> None:
    broker = connect("rediss://user:secret@one,two:7000?cluster=yes", namespace="{test}", timeout_s=0.5)
    assert isinstance(broker, StreamsBroker)
    pool = broker.client.connection_pool
    assert issubclass(pool.connection_class, redis.SSLConnection)
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("user", "secret")
    assert pool.connection_kwargs["retry"].get_retries() == 0
    assert address_of(broker.client) == "redis cluster one:6379, two:7000"


def test_the_namespace_is_the_brokers() -> None:
    broker = connect("redis://example.org", namespace="mine", timeout_s=0.5)
    assert isinstance(broker, StreamsBroker)
    assert broker.namespace == "mine"
    broker.client.close()


def test_rabbitmq_has_bounded_times_and_confirms() -> None:
    [parameters] = rabbitmq_parameters("amqp://guest:guest@example.org:5673/shop")
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("example.org", 5673, "shop")
    assert parameters.heartbeat == 20
    assert parameters.blocked_connection_timeout == 0.5
    assert parameters.socket_timeout == parameters.stack_timeout == 5
    assert parameters.connection_attempts == 1


def test_rabbitmq_options_of_the_address_are_kept() -> None:
    first, second = rabbitmq_parameters("amqp://one?heartbeat=7;amqps://two")
    assert (first.host, first.heartbeat) == ("one", 7)
    assert (second.host, second.heartbeat) == ("two", 20)
    assert second.ssl_options is not None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://:hunter2@example.org:port/0", "no readable host and port"),
        ("redis://:hunter2@example.org:0/0", "no readable host and port"),
        ("redis://:hunter2@example.org:99999/0", "no readable host and port"),
        ("redis://:hunt/er2@example.org/0", "no readable host and port"),
        ("redis://:hunt#er2@example.org/0", "no readable host and port"),
        ("redis://[::1/0", "no readable host and port"),
        ("redis://:hunter2@example.org/first", "names the database '/first'; give its number"),
        ("redis://:hunter2@example.org?db=first", "Invalid value for 'db'"),
        (
            "redis://:hunter2@example.org?socket_timeout=9",
            "option 'socket_timeout'; leave it out, and set enqueue_timeout_s",
        ),
        ("redis://:hunter2@example.org?retry_on_timeout=yes", "option 'retry_on_timeout'"),
        ("redis://:hunter2@example.org?client_nam=x", "unknown option 'client_nam'; did you mean client_name"),
        ("redis://:hunter2@example.org?decode_responses=1", "unknown option 'decode_responses'"),
        ("redis://:hunter2@example.org?ssl_cert_reqs=none", "cannot be used"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("amqp://guest:hunter2@example.org:port", "no readable host and port"),
        ("amqp://guest:hunter2@example.org?heartbeat=often", "cannot be read"),
        ("amqp://guest:hunter2@example.org?colour=red", "cannot be read"),
        (
            "redis://:hunter2@one,two/0",
            "names several servers and says neither sentinel nor cluster; say what they are",
        ),
        ("redis://:hunter2@one,two?sentinel=shop&cluster=yes", "several servers and says sentinel and cluster"),
        ("redis://:hunter2@one?sentinel=shop&cluster=yes", "says both sentinel and cluster"),
        ("redis://:hunter2@one,two:port?cluster=yes", "no readable host and port"),
        ("redis://:hunter2@one?cluster=maybe", "cluster='maybe'; write cluster=yes"),
        ("redis://:hunter2@one/3?cluster=yes", "the database '/3' of a cluster"),
        ("redis://:hunter2@one?sentinel=", "empty name in sentinel="),
        ("redis://:hunter2@one?sentinel_password=hunter2", "a login for Sentinels and no sentinel="),
        ("redis://:hunter2@one?replicas=all", "replicas='all'; give a number"),
        ("redis://:hunter2@one?sentinl=shop", "unknown option 'sentinl'; did you mean sentinel"),
        ("unix:///run/redis.sock?sentinel=shop", "is a socket with the option 'sentinel'"),
        ("kafka://:hunter2@example.org", "scheme 'kafka'; start it with one of redis://"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(url: str, problem: str) -> None:
    text = refusal(url)
    assert problem in text
    assert "hunt" not in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:hunter2@example.org:6379/0", "redis://user@example.org:6379/0"),
        ("redis://:hunter2@example.org/0", "redis://example.org/0"),
        ("redis://example.org", "redis://example.org"),
        ("redis://u:hunter2@one,two:7/0?sentinel=shop&sentinel_password=hunter2", "redis://u@one,two:7/0"),
        ("unix:///run/redis.sock?db=0&password=hunter2", "unix:///run/redis.sock"),
        ("redis://:hunt/er2@example.org/0", "redis://…"),
        ("redis://u:hunt;er2@example.org/0", "redis://u@example.org/0"),
        ("amqp://u:hunt;er2@one/x;amqps://u:hunter2@two/x", "amqp://u@one/x;amqps://u@two/x"),
        ("amqp://u:hunter2@one/x;amqp://u:hunter2@two/x", "amqp://u@one/x;amqp://u@two/x"),
    ],
)
def test_a_described_address_has_no_password(url: str, shown: str) -> None:
    assert describe(url) == shown


def test_without_pika_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["pika"] = None  # as if it were not installed
from weighbridge.errors import BrokerError
from weighbridge.lanes.queue import connect
try:
    connect("amqp://guest:hunter2@example.org", namespace="test", timeout_s=0.5)
except BrokerError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'weighbridge[rabbitmq]'" in run.stdout
    assert "amqp://guest@example.org" in run.stdout
    assert "hunter2" not in run.stdout


def test_all_refusals_are_weighbridges_own() -> None:
    with pytest.raises(WeighbridgeError):
        connect("redis://example.org:port", namespace="test", timeout_s=0.5)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://u:hunter2@one:7000,two/0?sentinel=shop", "redis://one:7000"),
        ("redis://:a,b@one,two:7000?cluster=yes", "redis://one:6379"),
    ],
)
def test_of_several_servers_the_commands_that_need_one_look_at_the_first(url: str, place: str) -> None:
    assert shown_place(url) == place
