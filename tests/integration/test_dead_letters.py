from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import dramatiq
import pytest
import redis
from dramatiq.middleware import AgeLimit, CurrentMessage, Retries, SkipMessage
from tests.servers.users import url_as

from weighbridge.errors import DeadLetterNotFoundError
from weighbridge.lanes.queue import unknown_task
from weighbridge.lanes.queue.dead_letters import DeadLetter, DeadLetters, DeadReason
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.permissions import Role
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.lanes.queue.unknown_task import PATIENCE_MS, SINCE


def eventually(condition: Callable[[], object], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


class Shop:
    """A worker with two tasks: one that records its runs, one that always fails.

    With ``users``, the worker and who looks at the letters are users who may do what their role may do.
    """

    def __init__(self, url: str, *, users: bool = False) -> None:
        self.namespace = f"test-{uuid.uuid4().hex}"
        self.url = url
        self.client = redis.Redis.from_url(url)
        self.keys = QueueKeys(namespace=self.namespace, queue="default")
        worker, operator = self.client, self.client
        if users:
            worker = redis.Redis.from_url(url_as(Role.WORKER, url, namespace=self.namespace))
            operator = redis.Redis.from_url(url_as(Role.OPERATOR, url, namespace=self.namespace))
        self._clients = (self.client, worker, operator)
        self.letters = DeadLetters(operator, self.namespace)
        self.broker = StreamsBroker(
            client=worker,
            namespace=self.namespace,
            middleware=[Retries(max_retries=1, min_backoff=1, max_backoff=2), AgeLimit()],
        )
        self.runs: list[object] = []
        self.failing = True

        def record(value: object) -> None:
            self.runs.append(value)

        def fail(value: object) -> None:
            if self.failing:
                raise RuntimeError("the printer burns")
            self.runs.append(value)

        self.record = dramatiq.actor(broker=self.broker, actor_name="record")(record)
        self.fail = dramatiq.actor(broker=self.broker, actor_name="fail")(fail)
        self.worker = dramatiq.Worker(self.broker, worker_threads=2, worker_timeout=100)
        self.worker.start()

    def raw(self, body: bytes) -> None:
        """An entry that no broker of ours has written."""
        self.client.xadd(self.keys.stream, {"m": body})

    def delayed(self) -> list[dramatiq.Message[Any]]:
        return [dramatiq.Message.decode(cast("bytes", body)) for body in self.client.zrange(self.keys.delayed, 0, -1)]

    def the_letter(self) -> DeadLetter:
        eventually(self.letters.list)
        [letter] = self.letters.list()
        return letter

    def put_away(self) -> None:
        self.worker.stop()
        self.broker.close()
        for key in self.client.scan_iter(f"{self.namespace}:*"):
            self.client.delete(key)
        for client in self._clients:
            client.close()


@pytest.fixture
def shop(redis_url: str) -> Iterator[Shop]:
    shop = Shop(redis_url)
    yield shop
    shop.put_away()


def server_time_s(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


# -- how letters come about


def test_a_call_that_fails_for_good_becomes_a_dead_letter(shop: Shop) -> None:
    before_s = server_time_s(shop.client)
    sent = shop.fail.send("a")

    letter = shop.the_letter()

    assert letter.id == sent.message_id
    assert letter.queue == "default"
    assert letter.task == "fail"
    assert letter.reason is DeadReason.FAILED
    assert letter.error == "RuntimeError: the printer burns"
    assert letter.traceback is not None
    assert "the printer burns" in letter.traceback
    assert letter.attempts == 2
    assert before_s - 0.001 <= letter.died_at_s <= server_time_s(shop.client)
    assert dramatiq.Message.decode(letter.body).args == ("a",)


def test_an_error_whose_text_is_no_utf_8_is_kept(shop: Shop) -> None:
    @dramatiq.actor(broker=shop.broker, actor_name="garble")
    def garble() -> None:
        raise RuntimeError("no file \udcff")

    garble.send()

    assert shop.the_letter().error == "RuntimeError: no file \\udcff"


def test_an_option_that_would_cost_a_thread_is_dropped(shop: Shop) -> None:
    for number in range(4):  # more than the worker has threads
        shop.broker.enqueue(shop.fail.message(number).copy(options={"throws": "text"}))

    eventually(lambda: len(shop.letters.list()) == 4)
    shop.record.send("still there")
    eventually(lambda: shop.runs == ["still there"])


def test_a_letter_shows_no_argument_values(shop: Shop) -> None:
    shop.fail.send("secret-4111")

    assert "secret-4111" not in repr(shop.the_letter())


def test_a_call_whose_task_no_worker_knew_for_five_minutes_becomes_a_dead_letter(shop: Shop) -> None:
    since_ms = int(server_time_s(shop.client) * 1000) - PATIENCE_MS - 1000
    shop.broker.enqueue(shop.record.message(1).copy(actor_name="newer", options={SINCE: since_ms}))

    letter = shop.the_letter()

    assert (letter.reason, letter.task, letter.attempts) == (DeadReason.UNKNOWN_TASK, "newer", 0)
    assert letter.error.startswith("no worker that met it knew its task, for 301 s; deploy workers before")
    assert shop.client.zcard(shop.keys.delayed) == 0


def test_a_letter_of_an_unknown_task_that_is_requeued_waits_anew(shop: Shop) -> None:
    since_ms = int(server_time_s(shop.client) * 1000) - PATIENCE_MS - 1000
    shop.broker.enqueue(shop.record.message(1).copy(actor_name="newer", options={SINCE: since_ms}))
    letter = shop.the_letter()

    shop.letters.requeue(letter.id)

    eventually(lambda: shop.client.zcard(shop.keys.delayed) == 1)
    assert shop.letters.list() == ()


def test_a_call_of_an_unknown_task_waits_and_is_told_once(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes back with all its options, those too that only its own task could allow, and neighbours go on."""
    monkeypatch.setattr(unknown_task, "PAUSE_MS", 60_000)
    met_ms = server_time_s(shop.client) * 1000
    sent = shop.record.message(1).copy(actor_name="newer", options={"max_retries": 50, "retries": 2})
    shop.broker.enqueue(sent)
    for number in range(4):  # more than the worker has threads
        shop.broker.enqueue(shop.record.message(number).copy(actor_name="newest"))
    shop.record.send("neighbour")

    eventually(lambda: shop.client.zcard(shop.keys.delayed) == 5 and shop.runs == ["neighbour"])

    waiting = {message.message_id: message for message in shop.delayed()}[sent.message_id]
    since_ms = waiting.options.pop(SINCE)
    assert met_ms - 1 <= since_ms <= server_time_s(shop.client) * 1000
    assert waiting.options == {"max_retries": 50, "retries": 2}
    assert (waiting.args, waiting.message_timestamp) == ((1,), sent.message_timestamp)
    assert shop.letters.list() == ()
    # The pause is over: a worker meets it for the second time, and leaves the first time as it was.
    body = waiting.copy(options={SINCE: since_ms}).encode()
    assert shop.client.zrem(shop.keys.delayed, body) == 1
    shop.raw(body)
    eventually(lambda: shop.client.zcard(shop.keys.delayed) == 5)
    assert shop.client.zscore(shop.keys.delayed, body) is not None
    told = [record.message for record in caplog.records if record.message.startswith("queue.unknown_task")]
    assert len([line for line in told if sent.message_id in line]) == 1
    assert len(told) == 5


@pytest.mark.parametrize("since_ms", [-1, 2**62, "1", True, None, 1.5])
def test_a_wait_that_no_worker_has_written_counts_as_none(shop: Shop, since_ms: object) -> None:
    shop.broker.enqueue(shop.record.message(1).copy(actor_name="newer", options={SINCE: since_ms}))

    eventually(lambda: shop.client.zcard(shop.keys.delayed) == 1)

    [waiting] = shop.delayed()
    assert abs(waiting.options[SINCE] / 1000 - server_time_s(shop.client)) < 5


def test_a_newer_worker_that_starts_meanwhile_runs_the_call(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its retry is as any other: the wait is over, and is not carried on."""
    monkeypatch.setattr(unknown_task, "PAUSE_MS", 300)
    attempts: list[object] = []
    shop.broker.enqueue(shop.record.message(1).copy(actor_name="newer"))
    eventually(lambda: shop.client.zcard(shop.keys.delayed) == 1)
    shop.worker.stop()

    client = redis.Redis.from_url(shop.url)
    newer_broker = StreamsBroker(client=client, namespace=shop.namespace)

    @dramatiq.actor(broker=newer_broker, actor_name="newer", min_backoff=1, max_backoff=50, max_retries=1)
    def newer(value: object) -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        attempts.append((value, SINCE in message.options))
        if len(attempts) == 1:
            raise RuntimeError("once more")

    newer_broker.add_middleware(CurrentMessage())
    worker = dramatiq.Worker(newer_broker, worker_threads=2, worker_timeout=100)
    worker.start()
    try:
        eventually(lambda: len(attempts) == 2)
    finally:
        worker.stop()
        newer_broker.close()
        client.close()
    assert attempts == [(1, False), (1, False)]
    assert shop.letters.list() == ()


def test_a_call_that_has_waited_too_long_becomes_a_dead_letter(shop: Shop) -> None:
    shop.broker.enqueue(shop.record.message(1).copy(message_timestamp=0, options={"max_age": 1_000}))

    letter = shop.the_letter()

    assert (letter.reason, letter.attempts) == (DeadReason.EXPIRED, 0)
    assert shop.runs == []


def test_a_call_that_middleware_rejects_becomes_a_dead_letter(shop: Shop) -> None:
    class Refuser(dramatiq.Middleware):
        def before_process_message(self, broker: Any, message: Any) -> None:
            message.fail()
            raise SkipMessage("not today")

    shop.broker.add_middleware(Refuser())
    shop.record.send(1)

    letter = shop.the_letter()

    assert (letter.reason, letter.error) == (DeadReason.SKIPPED, "SkipMessage: not today")


MESSAGE = {
    "queue_name": "default",
    "actor_name": "record",
    "args": [1],
    "kwargs": {},
    "options": {},
    "message_id": "id",
    "message_timestamp": 1,
}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps(MESSAGE | {"unknown": 1}).encode(),
        json.dumps(MESSAGE | {"options": "text"}).encode(),
        json.dumps(MESSAGE | {"options": {"retries": "many"}}).encode(),
        json.dumps(MESSAGE | {"kwargs": []}).encode(),
        json.dumps(MESSAGE | {"args": 7}).encode(),
        json.dumps(MESSAGE | {"queue_name": None}).encode(),
        json.dumps(MESSAGE | {"message_id": 7}).encode(),
        json.dumps(MESSAGE | {"message_id": "\ud800"}).encode(),
    ],
)
def test_what_is_no_message_becomes_a_dead_letter_and_costs_its_neighbours_nothing(shop: Shop, body: bytes) -> None:
    shop.record.send("before")
    shop.raw(body)
    shop.record.send("after")

    letter = shop.the_letter()

    assert letter.reason is DeadReason.UNDECODABLE
    assert letter.task is None
    assert letter.body == body
    assert letter.error
    shop.broker.join("default", timeout=20_000)
    assert sorted(map(str, shop.runs)) == ["after", "before"]


def test_a_letter_with_the_reason_of_a_newer_version_is_read_and_requeued(shop: Shop) -> None:
    shop.raw(b"no message")
    letter_id = shop.the_letter().id
    shop.client.hset(shop.keys.letter(letter_id), "reason", "out_of_fashion")

    (letter,) = shop.letters.list()

    assert (letter.reason, letter.body) == (DeadReason.OTHER, b"no message")
    assert shop.letters.requeue(letter_id).reason is DeadReason.OTHER


def test_an_entry_with_other_fields_than_ours_becomes_a_dead_letter(shop: Shop) -> None:
    shop.client.xadd(shop.keys.stream, {"foreign": "1"})

    assert shop.the_letter().reason is DeadReason.UNDECODABLE


def test_messages_that_name_another_queue_become_dead_letters_and_cost_no_thread(shop: Shop) -> None:
    for number in range(4):  # more than the worker has threads
        shop.raw(shop.record.message(number).copy(queue_name="other").encode())
    eventually(lambda: len(shop.letters.list()) == 4)

    assert {letter.reason for letter in shop.letters.list()} == {DeadReason.WRONG_QUEUE}
    assert {letter.queue for letter in shop.letters.list()} == {"default"}
    shop.record.send("still there")
    eventually(lambda: shop.runs == ["still there"])


def test_a_letter_is_kept_for_a_stated_time(shop: Shop) -> None:
    sent = shop.fail.send(1)
    shop.the_letter()

    week_s = 7 * 86_400
    assert week_s - 60 < shop.client.ttl(shop.keys.letter(sent.message_id)) <= week_s
    assert week_s - 60 < shop.client.ttl(shop.keys.dead) <= week_s


def test_a_letter_that_is_too_old_is_not_listed_and_leaves_the_index_with_the_next_one(redis_url: str) -> None:
    namespace = f"test-{uuid.uuid4().hex}"
    client = redis.Redis.from_url(redis_url)
    broker = StreamsBroker(client=client, namespace=namespace, middleware=[], dead_ttl_s=0.05)
    dramatiq.actor(broker=broker, actor_name="f")(lambda: None)
    consumer = broker.consume("default", timeout=5_000)
    letters = DeadLetters(client, namespace)
    keys = QueueKeys(namespace=namespace, queue="default")

    for _ in range(2):
        broker.enqueue(dramatiq.Message[None](queue_name="default", actor_name="f", args=(), kwargs={}, options={}))
        message = next(consumer)
        assert message is not None
        consumer.nack(message)
        eventually(lambda: not letters.list())

    assert client.zcard(keys.dead) <= 1
    consumer.close()
    broker.close()
    client.close()


# -- what can be done with them


def test_letters_are_listed_by_queue_or_all_together_the_latest_first(shop: Shop) -> None:
    @dramatiq.actor(broker=shop.broker, actor_name="fail_elsewhere", queue_name="other")
    def fail_elsewhere() -> None:
        raise RuntimeError("no")

    first = shop.fail.send(1)
    eventually(lambda: len(shop.letters.list()) == 1)
    second = fail_elsewhere.send()
    eventually(lambda: len(shop.letters.list()) == 2)

    assert [letter.id for letter in shop.letters.list()] == [second.message_id, first.message_id]
    assert [letter.id for letter in shop.letters.list("default")] == [first.message_id]
    assert [letter.id for letter in shop.letters.list("other")] == [second.message_id]


def test_a_requeued_letter_runs_again_under_its_id_with_all_its_retries(shop: Shop) -> None:
    sent = shop.fail.send("a")
    letter = shop.the_letter()
    shop.letters.requeue(letter.id)
    eventually(lambda: shop.letters.list() and shop.letters.list()[0].died_at_s > letter.died_at_s)

    again = shop.the_letter()

    assert (again.id, again.attempts) == (sent.message_id, 2)


def test_a_requeued_letter_that_succeeds_is_gone(shop: Shop) -> None:
    shop.fail.send("a")
    letter = shop.the_letter()
    shop.failing = False

    was = shop.letters.requeue(letter.id)

    assert was == letter
    eventually(lambda: shop.runs == ["a"])
    shop.broker.join("default", timeout=5_000)
    assert shop.letters.list() == ()


def test_a_requeued_letter_keeps_nothing_of_its_first_life(shop: Shop) -> None:
    shop.fail.send("a")
    letter = shop.the_letter()
    shop.worker.stop()

    shop.letters.requeue(letter.id)

    entries: Any = shop.client.xrange(shop.keys.stream)
    [(_, fields)] = entries
    message = dramatiq.Message.decode(fields[b"m"])
    assert message.options == {}
    assert message.message_timestamp >= int(letter.died_at_s * 1000)


def test_a_call_that_expired_can_be_requeued_and_runs(shop: Shop) -> None:
    shop.broker.enqueue(shop.record.message(1).copy(message_timestamp=0, options={"max_age": 60_000}))

    shop.letters.requeue(shop.the_letter().id)

    eventually(lambda: shop.runs == [1])


def test_a_letter_from_the_wrong_queue_is_requeued_where_it_lay(shop: Shop) -> None:
    shop.raw(shop.record.message(1).copy(queue_name="other").encode())

    shop.letters.requeue(shop.the_letter().id)

    eventually(lambda: shop.runs == [1])


def test_what_is_no_message_is_requeued_as_it_is(shop: Shop) -> None:
    shop.raw(b"from the future")
    letter = shop.the_letter()

    shop.letters.requeue(letter.id)

    eventually(lambda: any(other.id != letter.id for other in shop.letters.list()))
    assert shop.the_letter().body == b"from the future"


def test_a_letter_is_requeued_once(shop: Shop) -> None:
    shop.fail.send("a")
    letter = shop.the_letter()
    shop.worker.stop()
    shop.letters.requeue(letter.id)

    with pytest.raises(DeadLetterNotFoundError, match=letter.id):
        shop.letters.requeue(letter.id)

    assert shop.client.xlen(shop.keys.stream) == 1


def test_a_deleted_letter_is_gone(shop: Shop) -> None:
    shop.fail.send("a")
    letter = shop.the_letter()

    assert shop.letters.delete(letter.id) == letter

    assert shop.letters.list() == ()
    assert shop.client.zcard(shop.keys.dead) == 0


@pytest.mark.parametrize("action", ["requeue", "delete"])
def test_a_letter_that_is_not_there_is_named(shop: Shop, action: str) -> None:
    with pytest.raises(DeadLetterNotFoundError, match="'nothing'"):
        getattr(shop.letters, action)("nothing")
