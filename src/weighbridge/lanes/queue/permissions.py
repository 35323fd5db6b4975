"""What each user of a Redis server must be allowed, and no more: the one list of commands and keys.

A rule in parentheses (a selector) allows its commands on its keys alone; it needs Redis 7 or Valkey. ``~`` allows
reading and writing of a key, ``%R~`` and ``%W~`` one of them. A server checks the commands inside a script as it checks
others, against all rules; EVALSHA itself it takes for reading and writing of all its keys, so that stands apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from weighbridge.lanes.queue.keys import (
    QueueKeys,
    primary_key,
    probe_key,
    queues_key,
    shadow_key,
    worker_index_key,
    worker_key,
)

#: What to do for who may not do what an operator may.
OPERATOR: Final = "run it as the operator's user (docs/how-to/security.md has its rules)"


class Role(StrEnum):
    """Who talks to the server."""

    PRODUCER = "producer"
    """A web process: it adds calls, and reads none, not even its own."""
    WORKER = "worker"
    """A worker: it reads and ends calls, adds others, and writes dead letters, which it cannot read."""
    OPERATOR = "operator"
    """``weighbridge doctor``, ``weighbridge dead`` and ``weighbridge policy diff``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Commands that may be used on keys: each one a name of ``_patterns``, after ``~``, ``%R~`` or ``%W~``."""

    commands: tuple[str, ...]
    keys: tuple[str, ...]


#: What a connection needs, and commands without keys. INFO is for the check after the start of an app and of a worker.
#: CLIENT SETINFO is not there: redis-py does without it, and Redis 7.0 does not know it.
_ANYWHERE: Final[tuple[str, ...]] = ("ping", "select", "script|load", "time", "wait", "info")

#: Who looks for the node of a Redis Cluster that keeps the namespace asks for a key that is never written.
_IN_A_CLUSTER: Final = Grant(commands=("get",), keys=("%R~primary",))
#: ``weighbridge doctor --ready``, with which a web process or a worker sees by itself whether calls are taken.
_READINESS: Final = Grant(commands=("set",), keys=("%W~probe",))
_PRODUCER: Final[tuple[Grant, ...]] = (
    Grant(commands=("evalsha",), keys=("~stream", "~delayed", "~wake", "~mark")),
    Grant(commands=("get", "set"), keys=("~mark",)),
    Grant(commands=("set",), keys=("%W~wake",)),
    Grant(commands=("xadd",), keys=("%W~stream",)),
    Grant(commands=("zadd",), keys=("%W~delayed",)),
    Grant(commands=("zrank",), keys=("%R~delayed",)),  # the place of a message, not what is there
    _IN_A_CLUSTER,
    _READINESS,
)
#: What a web process counts of a shadow policy. Of what is there it reads the number of its own last write.
_SHADOW: Final = Grant(commands=("evalsha", "hget", "hset", "hlen", "hincrby", "expire"), keys=("~shadow",))
_WORKER: Final[tuple[Grant, ...]] = (
    *_PRODUCER[1:],
    Grant(commands=("evalsha",), keys=("~stream", "~delayed", "~wake", "~mark", "~crashes", "~dead", "~letter")),
    Grant(commands=("sadd",), keys=("%W~queues",)),
    Grant(
        commands=(
            "xreadgroup",
            "xack",
            "xdel",
            "xclaim",
            "xpending",
            "xrange",
            "xlen",
            "xgroup|create",
            "xgroup|delconsumer",
            "xinfo|consumers",
        ),
        keys=("~stream",),
    ),
    Grant(commands=("zrange", "zrem", "zcount", "zcard"), keys=("~delayed",)),
    Grant(commands=("del", "exists"), keys=("~wake",)),
    Grant(commands=("hget", "hmget", "hset", "hdel", "hincrby", "pexpire"), keys=("~crashes",)),
    Grant(commands=("zadd", "zremrangebyscore", "pexpire", "del", "hset"), keys=("%W~dead", "%W~letter")),
    Grant(
        commands=("set", "del", "pexpire", "expire", "zadd", "zrem", "zremrangebyscore"),
        keys=("%W~worker_index", "%W~worker"),
    ),
)
_OPERATOR: Final[tuple[Grant, ...]] = (
    Grant(commands=("evalsha",), keys=("~stream", "~delayed", "~wake", "~dead", "~letter")),
    _READINESS,
    Grant(commands=("smembers",), keys=("%R~queues",)),
    Grant(commands=("xlen", "xpending", "xrange", "xinfo|groups"), keys=("%R~stream",)),
    Grant(commands=("xadd",), keys=("%W~stream",)),
    Grant(commands=("exists",), keys=("%R~wake",)),
    Grant(commands=("zcount",), keys=("%R~delayed", "%R~dead")),
    Grant(commands=("zrange", "zrem", "hget", "hgetall", "pttl", "del"), keys=("~dead", "~letter")),
    Grant(commands=("zrange", "get", "pttl"), keys=("%R~worker_index", "%R~worker")),
    Grant(commands=("hgetall",), keys=("%R~shadow",)),
    _IN_A_CLUSTER,
)
#: For what is read or deleted together. It allows no command that is not allowed by itself.
_TOGETHER: Final[tuple[str, ...]] = ("multi", "exec")
#: Reading of settings and of the names of keys, of the whole server.
_OF_AN_OPERATOR: Final[tuple[str, ...]] = ("config|get", "scan")


def acl_rules(role: Role, namespace: str = "weighbridge") -> tuple[str, ...]:
    """What follows the user's name and password in ``ACL SETUSER``, one rule a line."""
    match role:
        case Role.PRODUCER:
            anywhere, grants = _ANYWHERE, (*_PRODUCER, _SHADOW)
        case Role.WORKER:
            anywhere, grants = (*_ANYWHERE, *_TOGETHER), _WORKER
        case Role.OPERATOR:
            anywhere, grants = (*_ANYWHERE, *_TOGETHER, *_OF_AN_OPERATOR), _OPERATOR
        case _:  # pragma: no cover
            assert_never(role)
    patterns = _patterns(namespace)
    return (
        "resetkeys resetchannels -@all",
        " ".join(f"+{command}" for command in anywhere),
        *(f"({_allowed(grant, patterns)})" for grant in grants),
    )


def _allowed(grant: Grant, patterns: dict[str, str]) -> str:
    commands = [f"+{command}" for command in grant.commands]
    keys = [f"{access}~{patterns[name]}" for access, _, name in (key.partition("~") for key in grant.keys)]
    return " ".join((*commands, *keys))


def _patterns(namespace: str) -> dict[str, str]:
    """The glob for each kind of key, of any queue."""
    plain = _escaped(namespace)
    keys = QueueKeys(namespace=plain, queue="queue")
    of_queues = {
        "stream": keys.stream,
        "delayed": keys.delayed,
        "wake": keys.wake,
        "crashes": keys.crashes,
        "dead": keys.dead,
        "mark": keys.mark("*", 0).removesuffix(":0"),
        "letter": keys.letter("*"),
    }
    tag = f"{plain}:{{queue}}:"
    return {name: f"{plain}:{{*}}:{key.removeprefix(tag)}" for name, key in of_queues.items()} | {
        "queues": queues_key(plain),
        "worker_index": worker_index_key(plain),
        "worker": worker_key(plain, "*"),
        "probe": probe_key(plain),
        "primary": primary_key(plain),
        "shadow": shadow_key(plain, "*"),
    }


def _escaped(namespace: str) -> str:
    return "".join(f"\\{character}" if character in "*?[]\\" else character for character in namespace)
