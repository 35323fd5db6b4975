"""Which server demo, dev and tests use: the one that is configured, else an embedded one."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from weighbridge.embedded.server import EmbeddedServer
from weighbridge.errors import BrokerError

DEFAULT_PORTS: Final = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}


class ExternalServer:
    """A server that was running already, and that :meth:`stop` leaves alone."""

    def __init__(self, *, url: str) -> None:
        self.url = url

    def stop(self) -> None:
        """Nothing: it is not ours."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def find_server(broker_url: str | None, *, answer_timeout_s: float = 3.0) -> EmbeddedServer | ExternalServer:
    """The server at ``broker_url``, or a new embedded one if none is configured. Blocks.

    A configured server that is dead is an error and never replaced: what ran then would not be what was
    asked for.

    :raises BrokerError: if nothing answers at ``broker_url`` within ``answer_timeout_s`` seconds, or it cannot be
        read.
    :raises EmbeddedServerError: if none is configured, and none can be started.
    """
    if broker_url is None:
        return EmbeddedServer.start()
    place = shown_place(broker_url)
    try:
        _connect(broker_url, timeout_s=answer_timeout_s)
    except OSError as error:
        raise BrokerError(
            broker=place,
            problem=f"nothing answers there ({error.strerror or error})",
            remedy="start it, or unset WEIGHBRIDGE_BROKER_URL to have a server started for you",
        ) from error
    return ExternalServer(url=broker_url)


def shown_place(broker_url: str) -> str:
    """A broker's address without user and password; of several (RabbitMQ, Sentinels, a cluster), the first.

    :raises BrokerError: if it has no place that can be read.
    """
    parts = _parts(broker_url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.hostname}:{parts.port or DEFAULT_PORTS.get(parts.scheme, 6379)}"


def _parts(broker_url: str) -> SplitResult:
    first = broker_url.partition(";")[0] if broker_url.startswith("amqp") else broker_url
    if first.startswith("redis"):
        login, at, places = first.rpartition("@")
        first = f"{login}{at}{places.partition(',')[0]}"
    try:
        parts = urlsplit(first)
        readable = parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
    except ValueError:  # its text may hold a part of the password
        readable = None
    if not readable:
        raise BrokerError(
            broker="(not shown)",
            problem="its address has no host and port, or path, that can be read",
            remedy="write it as redis://user:password@host:6379/0 or unix:///run/redis.sock",
        )
    return parts


def _connect(broker_url: str, *, timeout_s: float) -> None:
    """Whether something listens; whether it is the right thing, with the right password, its client tells."""
    parts = _parts(broker_url)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout_s)
            client.connect(parts.path)
        return
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 6379)
    with socket.create_connection((parts.hostname or "localhost", port), timeout=timeout_s):
        pass
