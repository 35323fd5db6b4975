"""The primary of a queue: connections to the one server that takes its writes, wherever that is at the moment.

Behind Sentinels that is redis-py's business. In a Redis Cluster all keys of a namespace with a hash tag lie in one
slot, so a queue has one primary there too: connections ask for it, follow when it moves, and are plain connections
otherwise. So everything above sees a plain client, and nothing repeats a command behind its back.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from weighbridge.errors import BrokerError
from weighbridge.lanes.queue.keys import primary_key
from weighbridge.lanes.queue.patient_client import OF_ONE_POOL

#: What redis-py's cluster client adds to its nodes' connections and a plain connection does not know, or must not do.
_OF_A_CLUSTER: Final = ("host", "port", "redis_connect_func", "retry", "cache", "cache_config")
#: Exactly one hash tag: what a Redis Cluster looks at to choose the slot of a key.
_TAGGED: Final = re.compile(r"[^{}]*\{[^{}]+\}[^{}]*")

Place = tuple[str, int]


def plain_client(client: redis.Redis | RedisCluster, *, namespace: str) -> redis.Redis:
    """The client through which a namespace is written and read: the given one, or one for its node of a cluster.

    :raises BrokerError: if replies would be decoded, or a cluster would spread the namespace over several nodes.
    """
    if isinstance(client, RedisCluster):
        options: dict[str, Any] = client.get_connection_kwargs()  # type: ignore[no-untyped-call]  # redis-py's
        places = [(str(node.host), int(node.port)) for node in client.get_nodes()]  # type: ignore[no-untyped-call]
        plain = redis.Redis(**{name: value for name, value in options.items() if name not in _OF_A_CLUSTER})
        client = cluster_client(
            places,
            namespace=namespace,
            connection_class=plain.connection_pool.connection_class,
            options=plain.connection_pool.connection_kwargs,
        )
    if client.connection_pool.connection_kwargs.get("decode_responses"):
        raise BrokerError(
            broker=address_of(client),
            problem="its client decodes replies, and messages are bytes",
            remedy="make the client with decode_responses=False",
        )
    return client


def cluster_client(
    places: Sequence[Place],
    *,
    namespace: str,
    connection_class: type[AbstractConnection],
    options: Mapping[str, Any],
) -> redis.Redis:
    """A client for the node that keeps a namespace, of the cluster to which any of ``places`` belongs. No I/O.

    :raises BrokerError: if the namespace has no hash tag, so that its queues could lie on several nodes.
    """
    if _TAGGED.fullmatch(namespace) is None:
        raise BrokerError(
            broker=_shown("redis cluster", places),
            problem=f"it would spread the keys of namespace {namespace!r} over its nodes, and a request's calls are "
            "written all or none, which one node alone can do",
            remedy=f"put the namespace into braces, so that all its keys share a slot: {_braced(namespace)!r}",
        )
    kind = ClusterSSLConnection if issubclass(connection_class, redis.SSLConnection) else ClusterConnection
    kept = {name: value for name, value in options.items() if name not in (*OF_ONE_POOL, "host", "port")}
    kept["retry"] = Retry(NoBackoff(), 0)
    finder = PrimaryFinder(places, key=primary_key(namespace), connection_class=connection_class, options=kept)
    host, port = places[0]
    pool = redis.ConnectionPool(connection_class=kind, finder=finder, host=host, port=port, **kept)
    return redis.Redis.from_pool(pool)


def address_of(client: Any) -> str:
    """A client's server as logs and errors name it, without user and password; empty for what is no client."""
    pool = getattr(client, "connection_pool", None)
    options = getattr(pool, "connection_kwargs", None)
    if not isinstance(options, dict):
        return ""
    finder = options.get("finder")
    if isinstance(finder, PrimaryFinder):
        return str(finder)
    service = getattr(pool, "service_name", None)
    if service is not None:
        return f"redis {service!r} (by its Sentinels, database {options.get('db') or 0})"
    place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"redis {place} (database {options.get('db') or 0})"


class PrimaryFinder:
    """Knows which node of a cluster is the primary of one slot: by asking any node for a key in it.

    Thread-safe, and shared by all connections of a process. ``key`` is read and never written.
    """

    def __init__(
        self,
        places: Sequence[Place],
        *,
        key: str,
        connection_class: type[AbstractConnection],
        options: Mapping[str, Any],
    ) -> None:
        self._places = list(dict.fromkeys(places))
        self._key = key
        self._connection_class = connection_class
        self._options = dict(options)
        self._found: Place | None = None
        self._looking = threading.Lock()

    def __str__(self) -> str:
        return _shown("redis cluster", self._places)

    def place(self) -> Place:
        """The host and the port of the primary. Asks the nodes, one after the other, if it is not known.

        Raises redis-py's errors: the last node's, if none answers.
        """
        with self._looking:
            if self._found is not None:
                return self._found
            problem: redis.RedisError = redis.ConnectionError("no node of the cluster is known")
            for place in list(self._places):
                try:
                    self._found = self._ask(place)
                except (AuthenticationError, AuthorizationError):  # another node would say the same
                    raise
                except (redis.ConnectionError, redis.TimeoutError, ClusterDownError, TryAgainError) as error:
                    problem = error
                    self._places.remove(place)  # it is asked last from now on, for a silent one takes its full time
                    self._places.append(place)
                else:
                    return self._found
            raise problem

    def learn(self, place: Place) -> None:
        """A node has said that the slot is now at ``place``."""
        with self._looking:
            self._found = place
            if place not in self._places:
                self._places.append(place)

    def forget(self, place: Place) -> None:
        """The node at ``place`` does not answer as a primary: the next connection asks anew, and that one last."""
        with self._looking:
            if self._found == place:
                self._found = None
            if place in self._places:
                self._places.remove(place)
                self._places.append(place)

    def _ask(self, place: Place) -> Place:
        host, port = place
        pool = redis.ConnectionPool(
            connection_class=self._connection_class, **{**self._options, "host": host, "port": port}
        )
        try:
            redis.Redis(connection_pool=pool).get(self._key)
        except MovedError as moved:
            return (moved.host or host, moved.port)
        finally:
            pool.disconnect()
        return place


class _LeavesReplicas(AbstractConnection):
    """Made anew after its server has turned out to be a read-only replica: its name may mean another one by now."""

    _of_a_replica = False

    def connect(self) -> None:
        """Connect if it is not connected to a server that takes writes."""
        if self._of_a_replica:
            self._of_a_replica = False
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
        super().connect()  # type: ignore[no-untyped-call]  # redis-py's

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply, and take note of a refusal to write."""
        try:
            return super().read_response(*args, **kwargs)
        except ReadOnlyError:
            self._of_a_replica = True
            raise


class LeavingConnection(_LeavesReplicas, redis.Connection):
    """By TCP, made anew after a read-only reply."""


class LeavingSSLConnection(_LeavesReplicas, redis.SSLConnection):
    """By TLS, made anew after a read-only reply."""


class _Follows(AbstractConnection):
    """A connection to the node that a finder knows to be the primary."""

    host: str
    port: int

    def __init__(self, *, finder: PrimaryFinder, **options: Any) -> None:
        super().__init__(**options)
        self._finder = finder

    def connect(self) -> None:
        """Connect to the primary if it is not connected to it."""
        place = self._finder.place()
        if place != (self.host, self.port):
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            self.host, self.port = place
        try:
            super().connect()  # type: ignore[no-untyped-call]  # redis-py's
        except (redis.ConnectionError, redis.TimeoutError):
            self._finder.forget(place)
            raise

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply, and take note of where the primary is, and is not."""
        try:
            return super().read_response(*args, **kwargs)
        except MovedError as moved:
            self._finder.learn((moved.host or self.host, moved.port))
            raise
        except (redis.ConnectionError, redis.TimeoutError, ReadOnlyError, ClusterDownError):
            self._finder.forget((self.host, self.port))
            raise


class ClusterConnection(_Follows, redis.Connection):
    """By TCP, to the primary of a cluster's slot."""


class ClusterSSLConnection(_Follows, redis.SSLConnection):
    """By TLS, to the primary of a cluster's slot."""


def _shown(kind: str, places: Sequence[Place]) -> str:
    return f"{kind} {', '.join(f'{host}:{port}' for host, port in places)}"


def _braced(namespace: str) -> str:
    return f"{{{re.sub('[{}]', '', namespace)}}}"
