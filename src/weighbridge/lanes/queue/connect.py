"""From a broker's address to a Dramatiq broker: explicit time-outs, no blind retries, and no I/O."""

from __future__ import annotations

import difflib
from inspect import signature
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, parse_qs, urlsplit

import dramatiq
import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, parse_url
from redis.retry import Retry

from weighbridge.errors import BrokerError, SettingsError
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.signals import SparingSignals
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.settings import BROKER_SCHEMES

SETTING: Final = "broker_url"
#: The share of the time-out that one attempt to write gets, so that three fit in: 150 ms of 0.5 s.
ATTEMPT_SHARE: Final = 0.3
#: What a Redis address may say beside the place. Time-outs, retries and the protocol are not among it: they
#: decide whether a call can be enqueued twice, so they follow from the settings.
_REDIS_OPTIONS: Final = frozenset({"db", "username", "password", "client_name", "max_connections"})
_TIMING: Final = ("timeout", "retry", "health_check")
_SPECIAL: Final = "write / # ? @ : in a password as %2F %23 %3F %40 %3A"


class ConnectedBroker(SparingSignals, StreamsBroker):
    """The broker for a Redis address."""


def connect(broker_url: str, *, namespace: str, timeout_s: float) -> dramatiq.Broker:
    """A broker for ``redis://``, ``rediss://``, ``unix://`` (our own, over Redis Streams), ``amqp(s)://``.

    Nothing is sent: whether the broker is there shows at the first exchange. ``timeout_s`` bounds each
    exchange, in seconds.

    :raises SettingsError: if the address cannot be read. Its password is never shown.
    :raises BrokerError: if the address needs what is not installed.
    """
    parts = _split(broker_url)
    if parts.scheme in ("amqp", "amqps"):
        return _rabbitmq(broker_url, timeout_s=timeout_s)
    if parts.scheme not in ("redis", "rediss", "unix"):
        schemes = ", ".join(f"{scheme}://" for scheme in BROKER_SCHEMES)
        _refuse(f"has the scheme {parts.scheme!r}", f"start it with one of {schemes}")
    client = _client(broker_url, parts, timeout_s=timeout_s)
    return ConnectedBroker(client=client, namespace=namespace, middleware=default_middleware())


def describe(broker_url: str) -> str:
    """The address without password and options, for logs."""
    return ";".join(_described(url) for url in broker_url.split(";"))


def _described(url: str) -> str:
    parts = urlsplit(url)
    # An unescaped / # or ? in a password ends the part that should hold it; then nothing is safe to show.
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return f"{parts.scheme}://…"
    user, at, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return f"{parts.scheme}://{f'{name}@' if at and name else ''}{place}{parts.path}"


def _split(broker_url: str) -> SplitResult:
    try:
        parts = urlsplit(broker_url)
        port = parts.port
    except ValueError:  # its text may hold a part of the password
        parts, port = None, None
    if parts is None or port == 0 or "@" in f"{parts.path}{parts.fragment}":
        _refuse("has no readable host and port", f"write it as redis://user:password@host:6379/0, and {_SPECIAL}")
    return parts


def _client(broker_url: str, parts: SplitResult, *, timeout_s: float) -> redis.Redis:
    _check_redis(parts)
    try:
        options: dict[str, Any] = parse_url(broker_url)  # type: ignore[no-untyped-call]  # redis-py's
    except ValueError as error:
        _refuse(f"cannot be read ({error})", "correct the option")
    options |= {
        "socket_timeout": timeout_s * ATTEMPT_SHARE,
        "socket_connect_timeout": timeout_s,
        # redis-py repeats blindly; the publisher repeats what it knows to be idempotent, within its time.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        # One handshake less, and the same replies from all versions of redis-py and of the server.
        "protocol": 2,
    }
    pool = redis.ConnectionPool(**options)
    # What a connection would tell of the client costs a look at the disk, which the event loop must not take.
    silent = {"driver_info": None} if "driver_info" in signature(AbstractConnection).parameters else {}
    try:
        pool.connection_class(**pool.connection_kwargs, **silent)
    except (TypeError, ValueError, redis.RedisError) as error:
        _refuse(f"cannot be used ({error})", "correct its options")
    return redis.Redis.from_pool(pool)


def _check_redis(parts: SplitResult) -> None:
    if parts.scheme == "unix":
        if parts.hostname is not None or len(parts.path) < 2:  # noqa: PLR2004  # more than the slash
            _refuse("does not name a socket", "write it with three slashes: unix:///run/redis.sock?db=0")
    elif parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        _refuse(f"names the database {parts.path!r}", "give its number: redis://host:6379/0")
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option in _REDIS_OPTIONS or option.startswith("ssl_"):
            continue
        if any(word in option for word in _TIMING):
            _refuse(f"has the option {option!r}", "leave it out, and set enqueue_timeout_s")
        close = difflib.get_close_matches(option, _REDIS_OPTIONS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it may have {', '.join(sorted(_REDIS_OPTIONS))} and ssl_…"
        _refuse(f"has the unknown option {option!r}", hint)


def _rabbitmq(broker_url: str, *, timeout_s: float) -> dramatiq.Broker:
    try:
        from weighbridge.lanes.queue.rabbitmq import rabbitmq_broker  # noqa: PLC0415  # pika is optional
    except ImportError as error:
        raise BrokerError(
            broker=describe(broker_url),
            problem=f"RabbitMQ needs pika, which cannot be imported ({error})",
            remedy="run: pip install 'weighbridge[rabbitmq]'",
        ) from error
    try:
        return rabbitmq_broker(broker_url, timeout_s=timeout_s, middleware=default_middleware())
    except (ValueError, TypeError):  # their text may hold a part of the password
        _refuse("cannot be read", f"write it as amqp://user:password@host:5672/vhost?heartbeat=20, and {_SPECIAL}")


def _refuse(problem: str, remedy: str) -> NoReturn:
    raise SettingsError(setting=SETTING, problem=problem, remedy=remedy) from None
