"""From a broker's address to a Dramatiq broker: explicit time-outs, no blind retries, and no I/O."""

from __future__ import annotations

import difflib
import re
from inspect import signature
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, parse_qs, urlsplit

import dramatiq
import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from weighbridge.errors import BrokerError, SettingsError
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.primary import LeavingConnection, LeavingSSLConnection, Place, cluster_client
from weighbridge.lanes.queue.signals import SparingSignals
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.settings import BROKER_SCHEMES, DEFAULT_ARGUMENTS_LIMIT_BYTES, DEFAULT_LEASE_S

SETTING: Final = "broker_url"
#: The share of the time-out that one attempt to write gets, so that three fit in: 150 ms of 0.5 s.
ATTEMPT_SHARE: Final = 0.3
#: What a Redis address may say beside the place. Time-outs, retries and the protocol are not among it: they
#: decide whether a call can be enqueued twice, so they follow from the settings.
_REDIS_OPTIONS: Final = frozenset({"db", "username", "password", "client_name", "max_connections"})
#: What an address says to us, and not to redis-py: of which kind its places are, and how safe a write must be.
_SENTINEL_OPTIONS: Final = ("sentinel", "sentinel_username", "sentinel_password")
_OWN_OPTIONS: Final = frozenset({*_SENTINEL_OPTIONS, "cluster", "replicas"})
_TIMING: Final = ("timeout", "retry", "health_check")
#: Where one of several addresses ends: a password may hold a semicolon too.
_NEXT_ADDRESS: Final = re.compile(r";(?=amqps?://)")
_SPECIAL: Final = "write / # ? @ : in a password as %2F %23 %3F %40 %3A"


class ConnectedBroker(SparingSignals, StreamsBroker):
    """The broker for a Redis address.

    ``address`` is what it was made from, with the password; it never goes into a log or a command line.
    """

    def __init__(self, *, address: str, **options: Any) -> None:
        self.address = address
        super().__init__(**options)


def connect(
    broker_url: str,
    *,
    namespace: str,
    timeout_s: float,
    lease_s: float = DEFAULT_LEASE_S,
    arguments_limit_bytes: int = DEFAULT_ARGUMENTS_LIMIT_BYTES,
) -> dramatiq.Broker:
    """A broker for ``redis://``, ``rediss://``, ``unix://`` (our own, over Redis Streams), ``amqp(s)://``.

    Nothing is sent: whether the broker is there shows at the first exchange. ``timeout_s`` bounds each
    exchange, in seconds. A worker that is silent for ``lease_s`` seconds loses its calls to others (not with
    ``amqp(s)://``). No worker of this broker decodes a message that is far above ``arguments_limit_bytes``.

    :raises SettingsError: if the address cannot be read. Its password is never shown.
    :raises BrokerError: if the address needs what is not installed.
    """
    parts = _split(broker_url)
    if parts.scheme in ("amqp", "amqps"):
        return _rabbitmq(broker_url, timeout_s=timeout_s)
    if parts.scheme not in ("redis", "rediss", "unix"):
        schemes = ", ".join(f"{scheme}://" for scheme in BROKER_SCHEMES)
        _refuse(f"has the scheme {parts.scheme!r}", f"start it with one of {schemes}")
    own = _own_options(parts, several=len(_each_place(broker_url)) > 1)
    client = _client(broker_url, own, timeout_s=timeout_s, namespace=namespace)
    return ConnectedBroker(
        address=broker_url,
        client=client,
        namespace=namespace,
        middleware=default_middleware(),
        replicas=int(own.get("replicas", "0")),
        lease_s=lease_s,
        arguments_limit_bytes=arguments_limit_bytes,
    )


def describe(broker_url: str) -> str:
    """The address without password and options, for logs."""
    return ";".join(_described(url) for url in _NEXT_ADDRESS.split(broker_url))


def _described(url: str) -> str:
    parts = urlsplit(url)
    # An unescaped / # or ? in a password ends the part that should hold it; then nothing is safe to show.
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return f"{parts.scheme}://…"
    user, at, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return f"{parts.scheme}://{f'{name}@' if at and name else ''}{place}{parts.path}"


def _split(broker_url: str) -> SplitResult:
    """The parts of an address; of several places, with the first."""
    first = None
    for url in _each_place(broker_url):
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its text may hold a part of the password
            parts, port = None, None
        if parts is None or port == 0 or "@" in f"{parts.path}{parts.fragment}":
            _refuse("has no readable host and port", f"write it as redis://user:password@host:6379/0, and {_SPECIAL}")
        first = first or parts
    assert first is not None
    return first


def _each_place(broker_url: str) -> list[str]:
    """One address for each place of an address like ``redis://user:password@one:26379,two:26379/0``."""
    found = re.fullmatch(r"(rediss?://(?:[^/?#]*@)?)([^/?#]*)(.*)", broker_url, re.DOTALL)
    if found is None:
        return [broker_url]
    return [f"{found[1]}{place}{found[3]}" for place in found[2].split(",")]


def _client(broker_url: str, own: dict[str, str], *, timeout_s: float, namespace: str) -> redis.Redis:
    urls = _each_place(broker_url)
    try:
        options: dict[str, Any] = parse_url(urls[0])  # type: ignore[no-untyped-call]  # redis-py's
    except ValueError as error:
        _refuse(f"cannot be read ({error})", "correct the option")
    tls = options.pop("connection_class", None)
    options = {name: value for name, value in options.items() if name not in _OWN_OPTIONS}
    options |= {
        "socket_timeout": timeout_s * ATTEMPT_SHARE,
        "socket_connect_timeout": timeout_s,
        # redis-py repeats blindly; the publisher repeats what it knows to be idempotent, within its time.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        # One handshake less, and the same replies from all versions of redis-py and of the server.
        "protocol": 2,
    }
    kinds = {None: LeavingConnection, redis.SSLConnection: LeavingSSLConnection}
    pool = redis.ConnectionPool(connection_class=kinds.get(tls, tls), **options)
    # What a connection would tell of the client costs a look at the disk, which the event loop must not take.
    silent = {"driver_info": None} if "driver_info" in signature(AbstractConnection).parameters else {}
    try:
        pool.connection_class(**pool.connection_kwargs, **silent)
    except (TypeError, ValueError, redis.RedisError) as error:
        _refuse(f"cannot be used ({error})", "correct its options")
    if "cluster" in own:
        kind = pool.connection_class
        places = _places(urls, port=6379)
        return cluster_client(places, namespace=namespace, connection_class=kind, options=pool.connection_kwargs)
    if "sentinel" in own:
        pool = _sentinel_pool(own, _places(urls, port=26379), options, tls=tls is not None)
    return redis.Redis.from_pool(pool)


def _places(urls: list[str], *, port: int) -> list[Place]:
    split = [urlsplit(url) for url in urls]
    return [(parts.hostname or "localhost", parts.port or port) for parts in split]


def _sentinel_pool(
    own: dict[str, str], places: list[Place], options: dict[str, Any], *, tls: bool
) -> SentinelConnectionPool:
    """Connections to the primary that Sentinels name. They are asked one after the other, each within its time."""
    asking = {name: value for name, value in options.items() if name.startswith(("socket_", "ssl_"))}
    asking |= {
        "socket_connect_timeout": options["socket_timeout"],
        "retry": options["retry"],
        "protocol": options["protocol"],
        "username": own.get("sentinel_username"),
        "password": own.get("sentinel_password"),
        "ssl": tls,
    }
    sentinel = Sentinel(places, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]  # redis-py's
    kind = SentinelManagedSSLConnection if tls else SentinelManagedConnection
    kept = {name: value for name, value in options.items() if name not in ("host", "port")}
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # redis-py's
        own["sentinel"], sentinel, connection_class=kind, **kept
    )


def _own_options(parts: SplitResult, *, several: bool) -> dict[str, str]:
    """The options of an address that are ours, checked beside the others."""
    _check_redis(parts)
    own = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    own = {name: value for name, value in own.items() if name in _OWN_OPTIONS}
    kinds = [name for name in ("sentinel", "cluster") if name in own]
    if parts.scheme == "unix" and kinds:
        _refuse(f"is a socket with the option {kinds[0]!r}", "name the hosts: redis://one:26379,two:26379/0")
    if several and len(kinds) != 1:
        said = " and ".join(kinds) or "neither sentinel nor cluster"
        _refuse(f"names several servers and says {said}", "say what they are: ?sentinel=NAME, or ?cluster=yes")
    if len(kinds) > 1:
        _refuse("says both sentinel and cluster", "leave one of them out")
    if own.get("cluster", "yes") != "yes":
        _refuse(f"has cluster={own['cluster']!r}", "write cluster=yes, or leave it out")
    if not own.get("sentinel", "-"):
        _refuse("has an empty name in sentinel=", "give the primary's name in the Sentinels' configuration")
    if "sentinel" not in own and any(name in own for name in _SENTINEL_OPTIONS):
        _refuse("has a login for Sentinels and no sentinel=", "add the primary's name: ?sentinel=NAME")
    if "cluster" in own and parts.path.strip("/") not in ("", "0"):
        _refuse(f"names the database {parts.path!r} of a cluster", "leave it out: a cluster has one")
    if not own.get("replicas", "0").isdecimal():
        _refuse(f"has replicas={own['replicas']!r}", "give a number of replicas: replicas=1")
    return own


def _check_redis(parts: SplitResult) -> None:
    if parts.scheme == "unix":
        if parts.hostname is not None or len(parts.path) < 2:  # noqa: PLR2004  # more than the slash
            _refuse("does not name a socket", "write it with three slashes: unix:///run/redis.sock?db=0")
    elif parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        _refuse(f"names the database {parts.path!r}", "give its number: redis://host:6379/0")
    for option in parse_qs(parts.query, keep_blank_values=True):
        if option in _REDIS_OPTIONS or option in _OWN_OPTIONS or option.startswith("ssl_"):
            continue
        if any(word in option for word in _TIMING):
            _refuse(f"has the option {option!r}", "leave it out, and set enqueue_timeout_s")
        known = sorted(_REDIS_OPTIONS | _OWN_OPTIONS)
        close = difflib.get_close_matches(option, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it may have {', '.join(known)} and ssl_…"
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
