"""What a message from outside can do to a worker: be dead-lettered with the reason, and nothing else."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.middleware import Callbacks, Pipelines, Retries

from weighbridge.declaration import task
from weighbridge.lanes.queue import bind
from weighbridge.lanes.queue.dead_letters import DeadLetter, DeadLetters, DeadReason
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.stream_message import largest_body
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.task import registry

RUNS: list[Any] = []
FAILURES: list[float] = []


@task(name="hostile.note")
def note(value: Any) -> None:
    RUNS.append(value)


@task(name="hostile.fail", retries=1, min_backoff_s=0.05, max_backoff_s=0.05)
def fail() -> None:
    FAILURES.append(time.monotonic())
    raise RuntimeError("no")


@task(name="hostile.slow", retries=0, time_limit_s=0.3)
def slow(seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(0.01)
    RUNS.append("slept")


def eventually(condition: Callable[[], object], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


class Target:
    """A worker with one thread, so that a thread that is lost is missed at once, and a raw way into its queue."""

    def __init__(self, url: str, *middleware: dramatiq.Middleware) -> None:
        self.namespace = f"test-{uuid.uuid4().hex}"
        self.client = redis.Redis.from_url(url)
        self.keys = QueueKeys(namespace=self.namespace, queue="default")
        self.letters = DeadLetters(self.client, self.namespace)
        self.broker = StreamsBroker(
            client=self.client, namespace=self.namespace, middleware=[*default_middleware(), *middleware]
        )
        for func in (note, fail, slow):
            spec = registry.of(func)
            assert spec is not None
            bind(self.broker, spec)
        self.worker = dramatiq.Worker(self.broker, worker_threads=1, worker_timeout=100)
        self.broker.emit_after("process_boot")
        self.worker.start()

    def raw(self, body: bytes) -> None:
        self.client.xadd(self.keys.stream, {"m": body})

    def send(self, actor: Any = "hostile.note", args: Any = (1,), **options: Any) -> str:
        call_id = str(uuid.uuid4())
        message = {
            "queue_name": "default",
            "actor_name": actor,
            "args": args,
            "kwargs": {},
            "options": options,
            "message_id": call_id,
            "message_timestamp": int(time.time() * 1000),
        }
        self.raw(json.dumps(message).encode())
        return call_id

    def the_letter(self) -> DeadLetter:
        eventually(self.letters.list)
        [letter] = self.letters.list()
        return letter

    def still_works(self) -> None:
        value = uuid.uuid4().hex
        self.send(args=[value])
        eventually(lambda: value in RUNS)

    def put_away(self) -> None:
        self.worker.stop()
        self.broker.close()
        for key in self.client.scan_iter(f"{self.namespace}:*"):
            self.client.delete(key)
        self.client.close()


@pytest.fixture
def target(redis_url: str) -> Iterator[Target]:
    RUNS.clear()
    FAILURES.clear()
    target = Target(redis_url)
    yield target
    target.put_away()


# -- size and depth


def test_a_body_of_50_mb_is_a_dead_letter_and_is_never_decoded(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = dramatiq.Message.decode

    def counted(data: bytes) -> Any:
        decoded.append(len(data))
        return decode(data)

    monkeypatch.setattr(dramatiq.Message, "decode", counted)
    target.send(args=["x" * 50_000_000])

    letter = target.the_letter()

    assert letter.reason is DeadReason.TOO_LARGE
    assert letter.error.startswith("is 50,000,")
    assert "arguments_limit_kib" in letter.error
    target.still_works()
    assert max(decoded) < 1000
    target.letters.delete(letter.id)


def test_arguments_above_the_limit_in_a_message_that_can_be_decoded_are_not_passed_to_the_task(target: Target) -> None:
    call_id = target.send(args=["x" * 300_000])

    letter = target.the_letter()

    assert (letter.id, letter.reason, letter.attempts) == (call_id, DeadReason.FAILED, 1)
    assert "argument 'value' of its message is 300,002 bytes of JSON: more than the 262,144" in letter.error
    assert RUNS == []
    target.still_works()


def test_the_largest_arguments_run_however_their_text_is_escaped(target: Target) -> None:
    text = "é" * (127 * 1024)
    target.send(args=[text])  # json.dumps writes each as \u00e9: six bytes for two
    eventually(lambda: text in RUNS)
    assert target.letters.list() == ()


@pytest.mark.parametrize("levels", [64, 5_000, 200_000])
def test_a_message_that_is_nested_too_deeply_is_a_dead_letter(target: Target, levels: int) -> None:
    body = json.dumps(
        {"queue_name": "default", "actor_name": "hostile.note", "args": ["?"], "kwargs": {}, "options": {}}
    )
    target.raw(body.replace('"?"', "[" * levels + "]" * levels).encode())

    letter = target.the_letter()

    assert letter.reason is DeadReason.UNDECODABLE
    assert "63 levels" in letter.error or "RecursionError" in letter.error
    target.still_works()


def test_a_traceback_of_any_length_leaves_a_retry_that_can_be_read(target: Target) -> None:
    @dramatiq.actor(broker=target.broker, actor_name="shout", max_retries=1, min_backoff=1, max_backoff=1)
    def shout() -> None:
        raise RuntimeError("é" * 3_000_000)

    shout.send()

    letter = target.the_letter()
    assert (letter.reason, letter.attempts) == (DeadReason.FAILED, 2)
    assert len(letter.body) < largest_body(256 * 1024)


# -- only registered tasks


@pytest.mark.parametrize("name", ["os.system", "weighbridge.demo:main", "builtins.eval", "antigravity", "../tasks", ""])
def test_a_name_that_is_no_task_is_never_imported_or_run(target: Target, name: str) -> None:
    before = set(sys.modules)
    target.send(name, args=["exit 1"])
    target.send(name, args=["exit 1"], unknown_since_ms=1)

    eventually(lambda: target.client.zcard(target.keys.delayed) == 1)  # the first one waits for who may know it
    assert target.the_letter().reason is DeadReason.UNKNOWN_TASK
    assert {each for each in set(sys.modules) - before if each.partition(".")[0] in {"antigravity", "this"}} == set()
    target.still_works()


# -- options


def test_a_message_gets_no_more_retries_and_no_shorter_waits_than_its_task_declares(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    target.send("hostile.fail", args=[], max_retries=1_000_000_000, min_backoff=0, max_backoff=0)

    letter = target.the_letter()

    assert letter.attempts == 2
    assert FAILURES[1] - FAILURES[0] > 0.02
    told = [
        record.__dict__["option"] for record in caplog.records if getattr(record, "event", "") == "queue.option_dropped"
    ]
    assert sorted(told) == ["max_backoff", "max_retries", "min_backoff"]
    target.send("hostile.fail", args=[], max_retries=1_000_000_000)
    eventually(lambda: len(target.letters.list()) == 2)
    told = [record for record in caplog.records if getattr(record, "event", "") == "queue.option_dropped"]
    assert len(told) == 3  # each name once


def test_a_message_may_ask_for_fewer_retries(target: Target) -> None:
    target.send("hostile.fail", args=[], max_retries=0)
    assert target.the_letter().attempts == 1


@pytest.mark.parametrize("limit", [10**12, "soon", 0, -1, True, None, [1], 1e300])
def test_a_message_gets_no_longer_time_limit_than_its_task_declares(target: Target, limit: Any) -> None:
    target.send("hostile.slow", args=[5], time_limit=limit)
    letter = target.the_letter()
    assert letter.error.startswith("TimeLimitExceeded")


@pytest.mark.parametrize(
    "options", [{"retries": -(10**9)}, {"retries": "x"}, {"retries": True}, {"max_age": "x"}, {"max_age": [1]}]
)
def test_a_count_or_an_age_that_is_none_makes_a_message_unreadable(target: Target, options: dict[str, Any]) -> None:
    target.send(**options)
    letter = target.the_letter()
    assert letter.reason is DeadReason.UNDECODABLE
    assert f"options.{next(iter(options))}" in letter.error
    assert RUNS == []
    target.still_works()


def test_no_option_names_a_task_to_run_where_no_middleware_of_ours_reads_it(target: Target) -> None:
    nested = {"queue_name": "default", "actor_name": "hostile.note", "args": [2], "kwargs": {}, "options": {}}
    target.send(
        on_success="hostile.note",
        on_failure="hostile.note",
        pipe_target=nested,
        group_completion_uuid="x",
        group_completion_callbacks=[nested],
        throws="x",
        retry_when="x",
        eta=9e15,
        redis_message_id="x",
        notify_shutdown=True,
        store_results=True,
        result_ttl=1,
        **{"a\nname": 1, "n" * 5000: 2},
    )
    target.still_works()
    assert RUNS[0] == 1
    assert len(RUNS) == 2
    assert target.letters.list() == ()


def test_what_a_middleware_in_use_reads_passes(redis_url: str) -> None:
    class Tenants(dramatiq.Middleware):
        @property
        def actor_options(self) -> set[str]:
            return {"tenant"}

        def before_process_message(self, broker: Any, message: Any) -> None:
            seen.append(dict(message.options))

    seen: list[dict[str, Any]] = []
    RUNS.clear()
    target = Target(redis_url, Pipelines(), Callbacks(), Tenants())
    try:
        following = target.broker.get_actor("hostile.note").message(2)
        target.send(args=[1], pipe_target=json.loads(following.encode()), on_failure="os.system", tenant="a", other=1)
        eventually(lambda: seen)
        assert seen[0].keys() == {"pipe_target", "tenant"}
    finally:
        target.put_away()


def test_options_of_send_with_options_that_stay_within_the_declaration_are_obeyed(target: Target) -> None:
    actor = target.broker.get_actor("hostile.slow")
    actor.send_with_options(args=(5,), time_limit=50, max_age=60_000)
    assert target.the_letter().error.startswith("TimeLimitExceeded")


def test_retries_count_on_although_their_options_pass_through_the_queue(target: Target) -> None:
    assert any(isinstance(each, Retries) for each in target.broker.middleware)
    target.send("hostile.fail", args=[])
    letter = target.the_letter()
    assert letter.attempts == 2
    assert len(FAILURES) == 2
