"""Reading what a Redis or Valkey server says of itself, as far as it lets this user ask."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final, TypeVar, cast

import redis

from weighbridge.lanes.queue.checkup.place import is_local
from weighbridge.lanes.queue.checkup.server import ServerFacts
from weighbridge.lanes.queue.keys import probe_key

T = TypeVar("T")

#: Exchanges of which the median is told.
EXCHANGES: Final = 7
#: Seconds for which the key that is written to see whether writing works stays.
PROBE_TTL_S: Final = 10
#: Keys that are looked at to see whether others use the database, in pages.
SAMPLED_PAGES: Final = 5
SAMPLED_KEYS: Final = 1_000
#: The configuration file of the embedded server, as it names it.
_EMBEDDED: Final = re.compile(r".*/weighbridge-[^/]+/server\.conf")
#: A key of any namespace of weighbridge's.
_OURS: Final = re.compile(rb".+:queues|.+:doctor|.+:\{[^{}]+\}:\w+(:.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """Median milliseconds of an exchange without effect, and of a write."""

    read_ms: float
    write_ms: float


def measure(client: redis.Redis, namespace: str, *, clock: Callable[[], float] = time.perf_counter) -> RoundTrip:
    """Measure exchanges with the server; the key that is written expires. Raises redis-py's errors."""

    def median_ms(step: Callable[[], object]) -> float:
        step()  # the first connects
        times: list[float] = []
        for _ in range(EXCHANGES):
            began_s = clock()
            step()
            times.append(clock() - began_s)
        return median(times) * 1000

    read_ms = median_ms(client.ping)
    return RoundTrip(read_ms=read_ms, write_ms=median_ms(lambda: client.set(probe_key(namespace), 1, ex=PROBE_TTL_S)))


def read_settings(client: redis.Redis, namespace: str) -> ServerFacts:
    """What INFO and CONFIG tell, by two commands. Raises redis-py's errors if the server does not answer."""
    denied: set[str] = set()
    info: Any = _asked("info", lambda: client.info(), denied) or {}  # noqa: PLW0108  # for its type
    config: Any = (
        _asked("config|get", lambda: client.config_get("appendfsync", "save", "min-replicas-to-write"), denied) or {}
    )
    min_replicas = config.get("min-replicas-to-write")
    pool = client.connection_pool
    options = pool.connection_kwargs
    return ServerFacts(
        namespace=namespace,
        local=is_local(options),
        tls=issubclass(pool.connection_class, redis.SSLConnection),
        password=bool(options.get("password") or options.get("credential_provider")),
        embedded=_EMBEDDED.fullmatch(str(info.get("config_file", ""))) is not None,
        denied=frozenset(denied),
        version=_text(info.get("redis_version")),
        role=_text(info.get("role")),
        loading=_flag(info.get("loading")),
        aof=_flag(info.get("aof_enabled")),
        aof_fsync=_text(config.get("appendfsync")),
        aof_written=_is_ok(info.get("aof_last_write_status")),
        snapshots=bool(config["save"]) if "save" in config else None,
        snapshot_written=_is_ok(info.get("rdb_last_bgsave_status")),
        eviction=_text(info.get("maxmemory_policy")),
        max_memory=info.get("maxmemory"),
        used_memory=info.get("used_memory"),
        system_memory=info.get("total_system_memory"),
        clients=info.get("connected_clients"),
        max_clients=info.get("maxclients"),
        replicas=info.get("connected_slaves"),
        min_replicas=None if min_replicas is None else int(min_replicas),
        cluster=_flag(info.get("cluster_enabled")),
    )


def with_surroundings(facts: ServerFacts, client: redis.Redis, *, now_s: Callable[[], float]) -> ServerFacts:
    """The facts with what takes more commands to find: the clocks, and whether others use the database."""
    denied = set(facts.denied)
    before_s = now_s()
    server = _asked("time", client.time, denied)
    here_s = (before_s + now_s()) / 2
    skew_s = None if server is None else here_s - (float(server[0]) + float(server[1]) / 1e6)
    sampled = _asked("scan", lambda: _sample(client, facts.namespace), denied)
    facts = replace(facts, denied=frozenset(denied), skew_s=skew_s)
    return facts if sampled is None else replace(facts, sampled_keys=sampled[0], foreign_keys=sampled[1])


def _sample(client: redis.Redis, namespace: str) -> tuple[int, int]:
    """How many keys were looked at, and how many of them belong to no namespace of weighbridge."""
    own = f"{namespace}:".encode()
    cursor, seen, foreign = 0, 0, 0
    for _ in range(SAMPLED_PAGES):
        cursor, keys = cast("tuple[int, list[bytes]]", client.scan(cursor, count=SAMPLED_KEYS))
        seen += len(keys)
        foreign += sum(not key.startswith(own) and _OURS.fullmatch(key) is None for key in keys)
        if cursor == 0:
            break
    return seen, foreign


def _asked(command: str, ask: Callable[[], T], denied: set[str]) -> T | None:
    """The answer; ``None`` if the server is there and refuses this one command."""
    try:
        return ask()
    except redis.ResponseError:
        denied.add(command)
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _is_ok(value: Any) -> bool | None:
    return None if value is None else value == "ok"
