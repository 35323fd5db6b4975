"""Each side works as a user of the server who may do what its role needs, and may do nothing else.

The tests of the broker and of the dead letters that are named here run once more, as those users.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis
from click.testing import CliRunner
from redis.exceptions import NoPermissionError
from tests.documentation.blocks import ROOT, blocks_of
from tests.integration import test_dead_letters as letters
from tests.integration import test_streams_broker as broker
from tests.integration.test_dead_letters import Shop
from tests.integration.test_streams_broker import Bench
from tests.servers.users import url_as, words_of

from weighbridge.cli.group import command
from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue import connect
from weighbridge.lanes.queue.connect import ConnectedBroker
from weighbridge.lanes.queue.dead_letters import DeadLetters
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.permissions import Role, acl_rules
from weighbridge.lanes.queue.register import Register

#: Every script, and every command of a worker's, is in one of these.
AS_WORKER: tuple[Callable[[Bench], None], ...] = (
    broker.test_a_message_runs_on_dramatiqs_own_worker,
    broker.test_writing_works_after_the_server_has_forgotten_its_scripts,
    broker.test_short_delays_leave_at_most_one_wake_up_in_the_stream_while_no_worker_runs,
    broker.test_a_delayed_message_outlives_the_processes_that_knew_of_it,
    broker.test_a_message_that_is_due_counts_as_waiting,
    broker.test_a_failing_task_is_retried_as_often_as_it_says,
    broker.test_a_message_whose_lease_lapsed_and_was_not_taken_is_started_and_renewed,
    broker.test_a_message_of_a_killed_worker_is_run_by_another,
    broker.test_a_failure_after_its_lease_was_lost_changes_nothing,
    broker.test_messages_whose_fetch_reply_was_lost_are_recovered_at_once,
    broker.test_a_stopping_worker_gives_back_what_it_has_not_started,
    broker.test_workers_that_died_without_a_word_leave_the_group_when_they_hold_nothing,
    broker.test_what_a_dead_consumer_held_can_be_taken_at_once_in_order_and_counts_what_ran,
    broker.test_crashes_are_kept_when_a_suspect_is_given_back_and_end_with_its_success,
    broker.test_nothing_else_is_handed_out_while_a_suspect_runs_alone,
)
AS_WORKER_AND_OPERATOR: tuple[Callable[[Shop], None], ...] = (
    letters.test_a_call_that_fails_for_good_becomes_a_dead_letter,
    letters.test_a_call_whose_task_no_worker_knew_for_five_minutes_becomes_a_dead_letter,
    letters.test_letters_are_listed_by_queue_or_all_together_the_latest_first,
    letters.test_a_requeued_letter_that_succeeds_is_gone,
)
KEYS = QueueKeys(namespace="weighbridge", queue="default")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start() as started:
        yield started


@pytest.mark.parametrize("test", AS_WORKER, ids=lambda test: test.__name__)
def test_a_worker_needs_no_more_than_its_user_may_do(test: Callable[[Bench], None], server: EmbeddedServer) -> None:
    bench = Bench(server.url, role=Role.WORKER)
    try:
        test(bench)
    finally:
        bench.put_away()


@pytest.mark.parametrize("test", AS_WORKER_AND_OPERATOR, ids=lambda test: test.__name__)
def test_dead_letters_are_written_by_the_worker_and_read_by_the_operator(
    test: Callable[[Shop], None], server: EmbeddedServer
) -> None:
    shop = Shop(server.url, users=True)
    try:
        test(shop)
    finally:
        shop.put_away()


# -- what a user may not do


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start() as started:
        root = redis.Redis.from_url(started.url)
        root.xadd(KEYS.stream, {"m": "a call"})
        root.zadd(KEYS.delayed, {"a later call": 1})
        root.zadd(KEYS.dead, {"letter": 1})
        root.hset(KEYS.letter("letter"), "body", "a dead call")
        root.set("others", "a secret")
        yield started
        root.close()


READING = {
    "the stream": ("XRANGE", KEYS.stream, "-", "+"),
    "the stream, as a reader": ("XREAD", "STREAMS", KEYS.stream, "0"),
    "the stream, as a worker": ("XREADGROUP", "GROUP", "workers", "me", "STREAMS", KEYS.stream, ">"),
    "what is delayed": ("ZRANGE", KEYS.delayed, "0", "-1"),
    "the index of dead letters": ("ZRANGE", KEYS.dead, "0", "-1"),
    "a dead letter": ("HGETALL", KEYS.letter("letter")),
    "the stream by a script": ("EVAL", "return redis.call('XRANGE', KEYS[1], '-', '+')", "1", KEYS.stream),
    "a copy": ("COPY", KEYS.stream, KEYS.mark("copy", 0)),
    "all keys' names": ("SCAN", "0"),
    "settings": ("CONFIG", "GET", "requirepass"),
    "another's key": ("GET", "others"),
    "commands of others": ("MONITOR",),
}


@pytest.mark.parametrize("what", READING)
def test_a_producer_cannot_read(own_server: EmbeddedServer, what: str) -> None:
    client = redis.Redis.from_url(url_as(Role.PRODUCER, own_server.url, namespace="weighbridge"))
    with client, pytest.raises(NoPermissionError):
        client.execute_command(*READING[what])  # type: ignore[no-untyped-call]  # redis-py's


def test_a_producer_cannot_read_by_a_script_that_it_loads(own_server: EmbeddedServer) -> None:
    with redis.Redis.from_url(url_as(Role.PRODUCER, own_server.url, namespace="weighbridge")) as client:
        for command, key in (("XRANGE", KEYS.stream), ("ZRANGE", KEYS.delayed)):
            sha = client.script_load(f"return redis.call('{command}', KEYS[1], '0', '-1')")
            with pytest.raises(redis.ResponseError, match=r"can't run this command|No permissions"):
                client.evalsha(sha, 1, key)


def test_a_worker_cannot_read_dead_letters_and_no_user_reads_another_namespace(own_server: EmbeddedServer) -> None:
    with redis.Redis.from_url(url_as(Role.WORKER, own_server.url, namespace="weighbridge")) as client:
        for what in ("the index of dead letters", "a dead letter", "another's key", "settings"):
            with pytest.raises(NoPermissionError):
                client.execute_command(*READING[what])
    for role in Role:
        with redis.Redis.from_url(url_as(role, own_server.url, namespace="other")) as client:
            for what in ("the stream", "what is delayed", "the index of dead letters", "a dead letter"):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*READING[what])


# -- a producer, a worker's register, an operator


def test_a_producer_adds_calls_now_and_later_and_one_that_expires_and_probes(server: EmbeddedServer) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    url = url_as(Role.PRODUCER, server.url, namespace=namespace)
    producer = connect(url, namespace=namespace, timeout_s=5)
    assert isinstance(producer, ConnectedBroker)
    message = dramatiq.Message[None](queue_name="default", actor_name="f", args=(), kwargs={}, options={})
    producer.enqueue(message)
    for delay in (1, 60_000):
        producer.enqueue(message.copy(message_id=f"later {delay}"), delay=delay)
    producer.enqueue(message.copy(message_id="expires", options={"max_age": 60_000}))
    producer.probe("default")
    producer.ping()
    keys = QueueKeys(namespace=namespace, queue="default")
    with redis.Redis.from_url(server.url) as root:
        assert root.xlen(keys.stream) == 3  # two calls, and what wakes a reader for the first of the delayed
        assert root.zcard(keys.delayed) == 2
    producer.close()
    producer.client.close()


def test_a_supervised_worker_registers_and_an_operator_examines_requeues_and_deletes(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    url = {role: url_as(role, server.url, namespace=namespace) for role in Role}
    monkeypatch.setenv("WEIGHBRIDGE_NAMESPACE", namespace)
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", url[Role.OPERATOR])
    (tmp_path / "shop.py").write_text(
        'from weighbridge import task\n\n@task(name="fail", retries=0)\ndef fail() -> None:\n    raise OSError("no")\n'
    )

    def run(*words: str) -> Any:
        done = CliRunner().invoke(command, [*words])
        assert "permission" not in done.output.lower()
        assert done.exit_code == 0 or words[0] == "doctor", done.output
        return json.loads(done.output) if "json" in words else None

    with redis.Redis.from_url(server.url) as root:
        dead = DeadLetters(root, namespace)
        worker = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", "worker", "shop", "--processes", "1", "--threads", "1"],
            env={**os.environ, "WEIGHBRIDGE_BROKER_URL": url[Role.WORKER]},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            broker.eventually(lambda: Register(root, namespace).live())
            producer = connect(url[Role.PRODUCER], namespace=namespace, timeout_s=5)
            producer.enqueue(dramatiq.Message(queue_name="default", actor_name="fail", args=(), kwargs={}, options={}))
            broker.eventually(dead.list)
            report = run("doctor", "--format", "json")
            assert len(report["workers"]) == 1
            assert [each["check"] for each in report["findings"] if each["severity"] == "unknown"] == []
            [before] = dead.list()
            assert [each["id"] for each in run("dead", "list", "--format", "json")] == [before.id]
            run("dead", "requeue", before.id)
            broker.eventually(lambda: [each for each in dead.list() if each.died_at_s > before.died_at_s])
            run("dead", "delete", before.id, "--yes")
            assert dead.list() == ()
        finally:
            worker.terminate()
            _, log = worker.communicate(timeout=30)
        assert worker.returncode == 0, log
        assert "permission" not in log.lower()
        assert Register(root, namespace).live() == ()


@pytest.mark.parametrize("role", [Role.PRODUCER, Role.WORKER])
def test_who_cannot_look_at_workers_is_not_told_that_all_is_well_with_them(
    role: Role, server: EmbeddedServer, tmp_path: Path
) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    (tmp_path / "shop.py").write_text("from weighbridge import task\n\n@task(durable=True)\ndef send() -> None: ...\n")
    done = subprocess.run(
        [sys.executable, "-m", "weighbridge", "doctor", "shop"],
        env={
            **os.environ,
            "WEIGHBRIDGE_NAMESPACE": namespace,
            "WEIGHBRIDGE_BROKER_URL": url_as(role, server.url, namespace=namespace),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "All promises hold" not in done.stdout
    assert "run it as the operator's user" in " ".join(done.stdout.split())


@pytest.mark.parametrize("role", Role)
def test_each_user_can_ask_whether_the_broker_takes_calls(
    role: Role, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    monkeypatch.setenv("WEIGHBRIDGE_NAMESPACE", namespace)
    monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", url_as(role, server.url, namespace=namespace))

    done = CliRunner().invoke(command, ["doctor", "--ready"])

    assert done.exit_code == 0, done.output
    assert "The broker takes calls." in done.output


def test_a_namespace_is_no_pattern() -> None:
    assert any("~a\\*\\[b\\]:{*}:mark:*" in rule for rule in acl_rules(Role.PRODUCER, "a*[b]"))


@pytest.mark.parametrize("role", Role)
def test_the_page_shows_what_each_user_may_do(role: Role) -> None:
    page = ROOT / "docs" / "how-to" / "security.md"
    commands = [shlex.split(block.code.replace("\\\n", " ")) for block in blocks_of(page) if block.language == "sh"]
    shown = next(words for words in commands if words[:4] == ["redis-cli", "ACL", "SETUSER", role])
    assert shown[4:7] == ["reset", "on", f">{role}s-password"]
    assert shown[7:] == words_of(acl_rules(role)), "the page and permissions.py say different things"
