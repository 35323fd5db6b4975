"""What in a Redis or Valkey server breaks a promise: facts in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from weighbridge.lanes.queue.checkup.finding import Finding, Promise, error, ok, unknown, warning

#: The oldest server with all the commands that the broker uses.
OLDEST: Final = (7, 0)
#: The share of memory, or of connections, from which a server counts as nearly full.
NEARLY_FULL: Final = 0.9
#: Keys of others in the database from which it counts as shared.
FOREIGN_MANY: Final = 100
#: Seconds by which two clocks may differ.
SKEW_S: Final = 5.0
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server says of itself; ``None``: it was not asked, or does not say.

    ``denied`` names the commands that it refused to answer. Memory is in bytes; ``skew_s`` is this host's clock less
    the server's; ``foreign_keys`` counts, of ``sampled_keys``, those of no weighbridge namespace.
    """

    namespace: str = "weighbridge"
    local: bool = True
    tls: bool = False
    password: bool = False
    embedded: bool = False
    denied: frozenset[str] = frozenset()
    version: str | None = None
    role: str | None = None
    loading: bool | None = None
    aof: bool | None = None
    aof_fsync: str | None = None
    aof_written: bool | None = None
    snapshots: bool | None = None
    snapshot_written: bool | None = None
    eviction: str | None = None
    max_memory: int | None = None
    used_memory: int | None = None
    system_memory: int | None = None
    clients: int | None = None
    max_clients: int | None = None
    replicas: int | None = None
    min_replicas: int | None = None
    cluster: bool | None = None
    skew_s: float | None = None
    sampled_keys: int | None = None
    foreign_keys: int | None = None


def server_findings(facts: ServerFacts) -> tuple[Finding, ...]:
    """All findings, each check once, in the order of what matters most."""
    return tuple(finding for check in _CHECKS for finding in check(facts))


def _persistence(facts: ServerFacts) -> Iterator[Finding]:
    promises = (Promise.RESPONSE, Promise.QUEUED_CALLS)
    if facts.aof is None:
        yield _unchecked("persistence", facts, "whether AOF is on", "info")
    elif not facts.aof:
        kept = "only snapshots" if facts.snapshots else "nothing on disk"
        kept = "no AOF (it may have snapshots)" if facts.snapshots is None else kept
        lost = "all calls" if facts.snapshots is False else "the calls accepted since the last snapshot"
        if facts.embedded:
            kept = "nothing on disk: it is the embedded server, for development alone"
        remedy = "use a server of your own" if facts.embedded else _set("appendonly yes")
        yield error("persistence", f"keeps {kept}; when it ends, {lost} are lost", *promises, remedy=remedy)
    elif facts.aof_written is False:
        text = "the last write of the AOF failed, so accepted calls are not on disk"
        yield error("persistence", text, *promises, remedy="see the server's log (a full disk, most often)")
    elif facts.aof_fsync is None:
        yield _unchecked("persistence", facts, "AOF is on; how often it is written to disk", "config|get")
    elif facts.aof_fsync == "no":
        text = "AOF is on with appendfsync no: a crash of the machine loses what the system had not written yet"
        yield error("persistence", text, *promises, remedy=_set("appendfsync everysec"))
    else:
        loss = "loses nothing" if facts.aof_fsync == "always" else "loses a second of accepted calls at most"
        yield ok("persistence", f"AOF is on, appendfsync {facts.aof_fsync}: a crash of the machine {loss}")
    if facts.snapshot_written is False:
        text = "the last snapshot failed; by default the server then refuses all writes"
        yield warning("snapshots", text, remedy="see the server's log (a full disk, most often)")


def _eviction(facts: ServerFacts) -> Iterator[Finding]:
    policy = facts.eviction
    if policy is None:
        yield _unchecked("eviction", facts, "whether keys are evicted", "info")
    elif policy == "noeviction":
        yield ok("eviction", "maxmemory-policy noeviction: a full server refuses calls, and loses none")
    else:
        what = "dead letters, and marks without which a repeated write makes a second call"
        what = what if policy.startswith("volatile") else "whole queues"
        remedy = _set("maxmemory-policy noeviction")
        if facts.max_memory:
            text = f"maxmemory-policy {policy}: a full server throws away {what}"
            yield error("eviction", text, Promise.QUEUED_CALLS, remedy=remedy)
        else:
            text = f"maxmemory-policy {policy}: as soon as a maxmemory is set, a full server throws away {what}"
            yield warning("eviction", text, Promise.QUEUED_CALLS, remedy=remedy)


def _role(facts: ServerFacts) -> Iterator[Finding]:
    if facts.loading:
        text = "it still loads its data, and refuses calls until it has"
        yield warning("role", text, remedy="wait until it has started")
    if facts.role not in (None, "master"):
        text = "it is a read-only replica: every queued call is refused"
        yield error("role", text, remedy="let WEIGHBRIDGE_BROKER_URL name the primary")


def _version(facts: ServerFacts) -> Iterator[Finding]:
    if facts.version is None:
        yield _unchecked("version", facts, "the server's version", "info")
        return
    numbers = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        text = f"version {facts.version} lacks commands that the queue needs"
        yield error("version", text, Promise.QUEUED_CALLS, remedy="use Redis 7 or newer, or Valkey")
    else:
        yield ok("version", f"speaks the commands of Redis {facts.version}")


def _memory(facts: ServerFacts) -> Iterator[Finding]:
    limit = facts.max_memory or facts.system_memory
    if facts.used_memory is None or not limit:
        return
    share = facts.used_memory / limit
    shown = f"{facts.used_memory / MIB:,.0f} of {limit / MIB:,.0f} MiB"
    if share >= NEARLY_FULL:
        what = "its maxmemory" if facts.max_memory else "the machine's memory"
        text = f"nearly full: it uses {shown} of {what}; full, it refuses calls, or is killed"
        remedy = "give it more memory, or let workers empty the queues"
        yield warning("memory", text, Promise.BOUNDS, remedy=remedy)
    else:
        yield ok("memory", f"uses {shown}{'' if facts.max_memory else ' (no maxmemory is set)'}")


def _clients(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.max_clients or facts.clients is None:
        return
    text = f"{facts.clients:,} of {facts.max_clients:,} connections"
    if facts.clients / facts.max_clients >= NEARLY_FULL:
        remedy = _set("maxclients") + " higher, or find who opens so many"
        yield warning("clients", f"nearly full: {text}; over that, calls are refused", remedy=remedy)
    else:
        yield ok("clients", text)


def _replicas(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.replicas:
        return
    if facts.min_replicas is None:
        yield _unchecked("replicas", facts, "min-replicas-to-write", "config|get")
    elif facts.min_replicas == 0:
        text = (
            f"{facts.replicas} connected, min-replicas-to-write 0: a primary that is cut off from them goes on "
            "accepting calls, which a failover then loses"
        )
        yield warning("replicas", text, Promise.QUEUED_CALLS, remedy=_set("min-replicas-to-write 1"))
    else:
        yield ok("replicas", f"{facts.replicas} connected, {facts.min_replicas} needed to accept a call")


def _cluster(facts: ServerFacts) -> Iterator[Finding]:
    if facts.cluster and not ("{" in facts.namespace and "}" in facts.namespace):
        text = f"a Redis Cluster spreads the queues of namespace {facts.namespace!r}; one write cannot reach them all"
        remedy = f"put the namespace into braces: {{{facts.namespace}}}"
        yield error("cluster", text, remedy=remedy)


def _secrecy(facts: ServerFacts) -> Iterator[Finding]:
    if facts.local:
        return
    if not facts.tls:
        text = "no TLS to another host: the network sees calls and passwords"
        yield warning("tls", text, remedy="use rediss://, unless the network is yours alone")
    if not facts.password:
        text = "no password on another host: whoever reaches it can add, read and drop calls"
        yield warning("password", text, remedy="give the server users, and the address user and password")


def _sharing(facts: ServerFacts) -> Iterator[Finding]:
    if facts.sampled_keys is None or facts.foreign_keys is None:
        if "scan" in facts.denied:
            yield _unchecked("sharing", facts, "whether others use this database", "scan")
        return
    if facts.foreign_keys >= FOREIGN_MANY:
        text = (
            f"others use this database ({facts.foreign_keys:,} of {facts.sampled_keys:,} keys looked at are not "
            "weighbridge's): they share its memory, and a FLUSHDB of theirs drops your calls"
        )
        yield warning("sharing", text, Promise.QUEUED_CALLS, remedy="give it a server, or a database, of its own")
    else:
        yield ok("sharing", "no others use this database")


def _clock(facts: ServerFacts) -> Iterator[Finding]:
    if facts.skew_s is None:
        return
    way = "ahead of" if facts.skew_s > 0 else "behind"
    if abs(facts.skew_s) < SKEW_S:
        yield ok("clock", f"this host's clock is {abs(facts.skew_s):.1f} s {way} the server's")
    else:
        text = (
            f"this host's clock is {abs(facts.skew_s):,.0f} s {way} the server's; leases, delays and expires_s do not "
            "mind (expires_s does with a broker of your own), but the logs of hosts do not fit together"
        )
        yield warning("clock", text, remedy="let NTP or chrony set the clock of each host")


_CHECKS: Final[tuple[Callable[[ServerFacts], Iterator[Finding]], ...]] = (
    _persistence,
    _eviction,
    _role,
    _version,
    _memory,
    _clients,
    _replicas,
    _cluster,
    _secrecy,
    _sharing,
    _clock,
)


def _set(option: str) -> str:
    return f"CONFIG SET {option}, and the same in the server's configuration"


def _unchecked(check: str, facts: ServerFacts, what: str, command: str) -> Finding:
    refused = any(command.startswith(name) for name in facts.denied)
    why = "its user may not ask, or the provider forbids it" if refused else "the server does not say"
    remedy = f"ACL SETUSER <user> +{command}, or look it up at your provider"
    return unknown(check, f"{what} could not be checked: {why}", remedy=remedy)
