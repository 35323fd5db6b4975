"""The pure part of the checkup: facts in, findings out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.sentinel import Sentinel

from weighbridge.declaration import task
from weighbridge.lanes.queue.checkup.finding import Finding, Promise, Severity
from weighbridge.lanes.queue.checkup.fleet import fleet_findings
from weighbridge.lanes.queue.checkup.place import is_local, is_loopback
from weighbridge.lanes.queue.checkup.queues import QueueState
from weighbridge.lanes.queue.checkup.rabbitmq import RabbitmqFacts, rabbitmq_findings
from weighbridge.lanes.queue.checkup.server import ServerFacts, server_findings
from weighbridge.lanes.queue.fingerprint import Fingerprint
from weighbridge.lanes.queue.register import WorkerRecord
from weighbridge.task import registry

GIB = 1024**3
#: A server with which everything holds.
GOOD = ServerFacts(
    version="7.2.4",
    role="master",
    loading=False,
    aof=True,
    aof_fsync="everysec",
    aof_written=True,
    snapshots=True,
    snapshot_written=True,
    eviction="noeviction",
    max_memory=GIB,
    used_memory=GIB // 2,
    system_memory=4 * GIB,
    clients=10,
    max_clients=10_000,
    replicas=1,
    min_replicas=1,
    cluster=False,
    skew_s=0.1,
    sampled_keys=100,
    foreign_keys=0,
)
VERSIONS = {"weighbridge": "1.0", "python": "3.12.1", "pydantic": "2.12"}


def bad(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(each.check, each.severity.value) for each in findings if each.severity is not Severity.OK]


def test_a_server_with_which_all_promises_hold_has_nothing_but_ok() -> None:
    assert bad(server_findings(GOOD)) == []
    assert all(each.breaks == () for each in server_findings(GOOD))


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({"aof": False}, ("persistence", "error"), "only snapshots"),
        ({"aof": False, "snapshots": False}, ("persistence", "error"), "nothing on disk"),
        ({"aof": False, "snapshots": None}, ("persistence", "error"), "no AOF"),
        ({"aof": False, "snapshots": False, "embedded": True}, ("persistence", "error"), "embedded server"),
        ({"aof_fsync": "no"}, ("persistence", "error"), "appendfsync no"),
        ({"aof_written": False}, ("persistence", "error"), "last write of the AOF failed"),
        ({"aof": None, "denied": {"info"}}, ("persistence", "unknown"), "may not ask"),
        ({"aof_fsync": None, "denied": {"config|get"}}, ("persistence", "unknown"), "AOF is on"),
        ({"snapshot_written": False}, ("snapshots", "warning"), "refuses all writes"),
        ({"eviction": "allkeys-lru"}, ("eviction", "error"), "whole queues"),
        ({"eviction": "volatile-ttl"}, ("eviction", "error"), "dead letters"),
        ({"eviction": "allkeys-lru", "max_memory": 0}, ("eviction", "warning"), "as soon as a maxmemory is set"),
        ({"eviction": None}, ("eviction", "unknown"), "does not say"),
        ({"role": "slave"}, ("role", "error"), "read-only replica"),
        ({"loading": True}, ("role", "warning"), "loads"),
        ({"version": "6.2.14"}, ("version", "error"), "6.2.14"),
        ({"version": None}, ("version", "unknown"), "version"),
        ({"used_memory": GIB - 1}, ("memory", "warning"), "1,024 of 1,024 MiB"),
        ({"used_memory": 4 * GIB, "max_memory": 0}, ("memory", "warning"), "the machine's memory"),
        ({"clients": 9_500}, ("clients", "warning"), "9,500 of 10,000"),
        ({"min_replicas": 0}, ("replicas", "warning"), "failover"),
        ({"min_replicas": None}, ("replicas", "unknown"), "min-replicas-to-write"),
        ({"cluster": True}, ("cluster", "error"), "'weighbridge'"),
        ({"local": False, "password": True}, ("tls", "warning"), "no TLS"),
        ({"local": False, "tls": True}, ("password", "warning"), "no password"),
        ({"foreign_keys": 100}, ("sharing", "warning"), "FLUSHDB"),
        ({"sampled_keys": None, "denied": {"scan"}}, ("sharing", "unknown"), "others use this database"),
        ({"skew_s": -601.0}, ("clock", "warning"), "601 s behind"),
        ({"skew_s": 601.0}, ("clock", "warning"), "leases, delays and expires_s do not mind"),
    ],
)
def test_each_fault_of_a_server_is_one_finding_with_what_to_do(
    changes: dict[str, Any], expected: tuple[str, str], words: str
) -> None:
    findings = server_findings(replace(GOOD, **changes))

    assert bad(findings) == [expected]
    (found,) = [each for each in findings if each.severity is not Severity.OK]
    assert words in found.text
    assert found.remedy


def test_a_cluster_is_no_fault_with_braces_nor_a_password_on_this_machine() -> None:
    assert bad(server_findings(replace(GOOD, cluster=True, namespace="{shop}", password=False))) == []


def test_what_is_not_kept_on_disk_breaks_two_promises() -> None:
    (found,) = [each for each in server_findings(replace(GOOD, aof=False)) if each.severity is Severity.ERROR]
    assert found.breaks == (Promise.RESPONSE, Promise.QUEUED_CALLS)


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.5", True), ("::1", True), ("[::1]", True), ("10.0.0.1", False), ("redis", False)],
)
def test_a_place_is_this_machine_by_its_name_or_address(host: str, *, local: bool) -> None:
    assert is_loopback(host) is local


def test_what_sentinels_name_may_be_anywhere() -> None:
    redis_by_sentinel = Sentinel([("127.0.0.1", 1)]).master_for("shop").connection_pool  # type: ignore[no-untyped-call]
    assert not is_local(redis_by_sentinel.connection_kwargs)
    assert is_local(redis.Redis().connection_pool.connection_kwargs)
    assert is_local(redis.Redis(unix_socket_path="/run/redis.sock").connection_pool.connection_kwargs)
    assert not is_local(redis.Redis(host="redis.internal").connection_pool.connection_kwargs)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (RabbitmqFacts(local=True, tls=False, blocked=False), [("consumer timeout", "unknown")]),
        (
            RabbitmqFacts(local=False, tls=False, blocked=True, longest_run_s=7_200),
            [("alarm", "error"), ("consumer timeout", "warning"), ("tls", "warning")],
        ),
        (RabbitmqFacts(local=False, tls=True), [("consumer timeout", "unknown")]),
    ],
)
def test_the_faults_of_a_rabbitmq(facts: RabbitmqFacts, expected: list[tuple[str, str]]) -> None:
    assert bad(rabbitmq_findings(facts)) == expected


# -- app and workers ----------------------------------------------------------------------------------------


def fingerprint(func: Callable[..., Any], *, queue: str = "default") -> Fingerprint:
    task(name="shop.send", queue=queue)(func)
    spec = registry.get("shop.send")
    assert spec is not None
    registry.discard("shop.send")
    return Fingerprint.of(spec)


def send(to: str) -> None: ...
def send_with_copy(to: str, copy: str = "") -> None: ...
def send_number(to: int) -> None: ...


def worker(*tasks: Fingerprint, pid: int = 1, queues: tuple[str, ...] = ("default",), **versions: str) -> WorkerRecord:
    return WorkerRecord(
        id=str(pid),
        host="host",
        pid=pid,
        queues=queues,
        threads=1,
        started_s=1.0,
        versions={**VERSIONS, **versions},
        tasks={each.task: each.to_plain() for each in tasks},
    )


SEND = fingerprint(send)


def fleet(*workers: WorkerRecord, app: tuple[Fingerprint, ...] = (SEND,), queues: tuple[QueueState, ...] = ()) -> Any:
    return fleet_findings(app=app, workers=workers, queues=queues, versions=VERSIONS)


def test_workers_that_were_not_heard_of_for_long_are_not_called_live() -> None:
    silent = replace(worker(SEND, pid=2), silent_s=41.0)
    both = [each.text for each in fleet(worker(SEND), silent) if each.check == "workers"]
    assert both == [
        "1 live, each heard of in the last 1 s, for queue default",
        "nothing was heard for up to 41 s of worker host:2: dead, perhaps; listed for 60 s",
    ]
    (alone,) = [each for each in fleet(silent) if each.check == "workers"]
    assert alone.severity is Severity.WARNING
    assert alone.text.startswith("no process is certainly alive: ")


def test_workers_that_know_all_tasks_of_the_app_are_ok() -> None:
    findings = fleet(worker(SEND), worker(SEND, pid=2))
    assert bad(findings) == []
    assert [each.text for each in findings] == [
        "2 live, each heard of in the last 1 s, for queue default",
        "the workers know all 1 of the app, and take its calls",
    ]


@pytest.mark.parametrize(
    ("workers", "expected", "words"),
    [
        ([], ("workers", "error"), "no worker process is alive"),
        ([worker(queues=("other",))], ("workers", "error"), "no live worker serves queue default"),
        ([worker()], ("tasks", "error"), "shop.send: no live worker of its queue knows it"),
        ([worker(SEND), worker(pid=2)], ("tasks", "error"), "shop.send: worker host:2 does not know it"),
        ([worker(fingerprint(send_number))], ("tasks", "error"), "host:1 differs ('to' is of another type)"),
        ([worker(SEND, weighbridge="0.9")], ("versions", "warning"), "weighbridge is 0.9 in the workers, and 1.0 here"),
        ([worker(SEND, python="3.13.0")], ("versions", "warning"), "python is 3.13 in the workers, and 3.12 here"),
    ],
)
def test_what_is_wrong_between_app_and_workers(
    workers: list[WorkerRecord], expected: tuple[str, str], words: str
) -> None:
    findings = fleet(*workers)

    assert bad(findings) == [expected]
    (found,) = [each for each in findings if each.severity is not Severity.OK]
    assert words in found.text
    assert found.remedy


def test_another_pydantic_is_named_beside_a_signature_that_differs() -> None:
    findings = fleet(worker(fingerprint(send_number), pydantic="2.11"))
    assert any("pydantic there is 2.11, which may be all" in each.text for each in findings)


def test_workers_that_were_deployed_first_take_the_calls_of_the_app() -> None:
    findings = fleet(worker(fingerprint(send_with_copy)))
    assert bad(findings) == []
    assert any("takes the app's (it also takes 'copy')" in each.text for each in findings)


def test_an_older_patch_of_python_is_no_finding() -> None:
    assert bad(fleet(worker(SEND, python="3.12.9"))) == []


def test_without_tasks_to_compare_only_calls_that_wait_for_nobody_are_wrong() -> None:
    idle, busy = QueueState(name="old", waiting=0, delayed=0), QueueState(name="mail", waiting=0, delayed=3)
    assert bad(fleet(app=(), queues=(idle,))) == [("workers", "warning")]
    assert bad(fleet(worker(), app=(), queues=(idle,))) == []
    assert bad(fleet(worker(), app=(), queues=(idle, busy))) == [("workers", "error")]


def test_dead_letters_that_are_soon_deleted_are_told() -> None:
    findings = fleet(worker(SEND), queues=(QueueState(name="default", dead=5, dead_soon=2),))
    assert bad(findings) == [("dead letters", "warning")]
    assert any(each.text.startswith("2 dead letters are deleted within a day") for each in findings)


def test_on_a_broker_without_a_register_readers_are_counted_if_they_can_be() -> None:
    def found(*queues: QueueState) -> list[tuple[str, str]]:
        return bad(fleet_findings(app=(SEND,), workers=None, queues=queues, versions=VERSIONS))

    assert found(QueueState(name="default", consumers=2)) == [("tasks", "unknown")]
    assert found(QueueState(name="default", consumers=0)) == [("workers", "error"), ("tasks", "unknown")]
    assert found() == [("tasks", "unknown")]
