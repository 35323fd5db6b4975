"""A worker's client, made after another client: its connections wait long enough for reads that block."""

from __future__ import annotations

from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

#: What a pool adds to its connections' settings and the pool made after it has to add for itself.
OF_ONE_POOL: Final = (
    "connection_pool",
    "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler",
    "orig_host_address",
    "orig_socket_timeout",
    "orig_socket_connect_timeout",
)
#: Seconds that a reply may take beyond the time for which the server was asked to block.
GRACE_S: Final = 5.0


class PatientClient:
    """A client for the same server that waits longer, with reads that may block for ``block_s`` seconds.

    The client that it is made after may give up within milliseconds, as a request needs it, and sooner than a read
    blocks. No request waits for a worker: here a reply may take ``block_s`` and ``grace_s``. So there are connections
    of its own, by TCP, TLS, unix socket, Sentinel or to a node of a cluster. They never repeat a command by
    themselves: a repeated read is given other messages. None is opened before the first command.

    For a kind of pool that it does not know it is the given client, with reads that block for at most half of that
    one's time-out.
    """

    def __init__(self, client: redis.Redis, *, block_s: float = 0.0, grace_s: float = GRACE_S) -> None:
        pool = _pool_after(client.connection_pool, socket_timeout_s=block_s + grace_s)
        self._pool = pool
        self.client = client if pool is None else redis.Redis(connection_pool=pool)
        self.block_s = block_s
        limit_s = client.connection_pool.connection_kwargs.get("socket_timeout", GRACE_S)
        if pool is None and limit_s is not None:
            self.block_s = min(block_s, limit_s / 2)

    def close(self) -> None:
        """Close the connections of its own; a later command opens new ones."""
        if self._pool is not None:
            self._pool.disconnect()


def _pool_after(pool: Any, *, socket_timeout_s: float) -> redis.ConnectionPool | None:
    options = {name: value for name, value in pool.connection_kwargs.items() if name not in OF_ONE_POOL}
    options |= {
        "connection_class": pool.connection_class,
        "socket_timeout": socket_timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    if type(pool) is SentinelConnectionPool:
        return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # redis-py does not type it
            pool.service_name,
            pool.sentinel_manager,
            is_master=pool.is_master,
            check_connection=pool.check_connection,
            **options,
        )
    if type(pool) in (redis.ConnectionPool, redis.BlockingConnectionPool):
        return redis.ConnectionPool(**options)
    return None
