"""TLS to the broker, with a certificate of an authority that only the test knows."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import dramatiq
import pytest
from tests.servers.tls_proxy import HOST, TlsProxy, make_certificates

from weighbridge.embedded import EmbeddedServer
from weighbridge.errors import BrokerError
from weighbridge.lanes.queue import QueueLane, connect
from weighbridge.lanes.queue.connect import ConnectedBroker

RABBITMQ = urlsplit(os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(tcp=True) as started:
        yield started


@contextmanager
def before_redis(server: EmbeddedServer, folder: Path, *, client_certificates: bool = False) -> Iterator[str]:
    parts = urlsplit(server.url)
    assert parts.port
    proxy = TlsProxy(folder, (HOST, parts.port), client_certificates=client_certificates)
    yield f"rediss://{parts.netloc.rpartition('@')[0]}@{HOST}:{proxy.port}/0"
    proxy.close()


def problem_of(url: str) -> str:
    """Why an address is not reached."""
    broker = connect(url, namespace="weighbridge", timeout_s=3)
    lane = QueueLane(broker=broker, timeout_s=3, waiting_limit=10, close_broker=True)
    with pytest.raises(BrokerError) as caught:
        lane.ping()
    return str(caught.value)


def add_a_call(url: str) -> None:
    broker = connect(url, namespace=f"test-{uuid.uuid4().hex}", timeout_s=5)
    assert isinstance(broker, ConnectedBroker)
    broker.declare_queue("default")
    broker.enqueue(dramatiq.Message[None](queue_name="default", actor_name="f", args=(), kwargs={}, options={}))
    assert broker.waiting("default") == 1
    broker.flush("default")
    broker.close()
    broker.client.close()


def test_a_call_goes_to_redis_when_the_authority_is_named(server: EmbeddedServer, folder: Path) -> None:
    with before_redis(server, folder) as url:
        add_a_call(f"{url}?ssl_ca_certs={folder}/ca.pem")


def test_a_server_that_asks_for_a_certificate_is_shown_the_one_that_is_named(
    server: EmbeddedServer, folder: Path
) -> None:
    with before_redis(server, folder, client_certificates=True) as url:
        trusting = f"{url}?ssl_ca_certs={folder}/ca.pem"
        assert "cannot be reached" in problem_of(trusting)
        add_a_call(f"{trusting}&ssl_certfile={folder}/server.pem&ssl_keyfile={folder}/server.key")


def test_a_certificate_that_is_not_trusted_is_refused_and_says_what_to_name(
    server: EmbeddedServer, folder: Path
) -> None:
    with before_redis(server, folder) as url:
        text = problem_of(url)
    assert "certificate verify failed" in text.lower()
    assert "ssl_ca_certs=" in text


def test_tls_on_a_port_without_it_says_so(server: EmbeddedServer) -> None:
    assert "to rediss:// a port without TLS is silent" in problem_of(server.url.replace("redis://", "rediss://"))
    rabbitmq = f"amqps://{RABBITMQ.username}:{RABBITMQ.password}@{RABBITMQ.hostname}:{RABBITMQ.port}"
    assert "does not speak TLS on this port" in problem_of(rabbitmq)


def test_rabbitmq_is_reached_by_tls_and_an_unknown_certificate_is_refused(folder: Path) -> None:
    proxy = TlsProxy(folder, (RABBITMQ.hostname or HOST, RABBITMQ.port or 5672))
    url = f"amqps://{RABBITMQ.username}:{RABBITMQ.password}@{HOST}:{proxy.port}"
    options = quote(json.dumps({"ca_certs": f"{folder}/ca.pem"}))
    broker = connect(f"{url}?ssl_options={options}", namespace="weighbridge", timeout_s=5)
    lane = QueueLane(broker=broker, timeout_s=5, waiting_limit=10, close_broker=True)
    lane.ping()
    lane.close()
    assert "certificate verify failed" in problem_of(url).lower()
    proxy.close()
