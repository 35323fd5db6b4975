"""From an address to a broker: what is set explicitly, what is refused, and what is never shown."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from weighbridge.errors import SettingsError, WeighbridgeError
from weighbridge.lanes.queue import connect, describe
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
    assert redis_options("rediss://example.org?ssl_cert_reqs=none")["connection_class"] is redis.SSLConnection
    options = redis_options("unix:///run/redis.sock?db=2")
    assert options["connection_class"] is redis.UnixDomainSocketConnection
    assert (options["path"], options["db"]) == ("/run/redis.sock", 2)


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
        ("unix:///run/redis.sock?db=0&password=hunter2", "unix:///run/redis.sock"),
        ("redis://:hunt/er2@example.org/0", "redis://…"),
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
