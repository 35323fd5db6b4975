"""What a worker's log lines say of a message: never its arguments, whoever configured logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import BrokerConnectionError, DecodeError

from weighbridge.worker.logs import DECODING, ConsumerFailures, HiddenArguments, hide_arguments

SECRET = "CARD-4242"


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    broker = StubBroker()
    broker.emit_after("process_boot")
    yield broker
    broker.close()


def run(broker: StubBroker, message: dramatiq.Message[None]) -> None:
    broker.enqueue(message)
    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.start()
    try:
        broker.join(message.queue_name, fail_fast=False)
        worker.join()
    finally:
        worker.stop()


def test_dramatiqs_lines_name_task_and_id_and_no_argument(broker: StubBroker, caplog: pytest.LogCaptureFixture) -> None:
    def fail(card: str, *, again: str) -> None:
        raise ValueError("declined")

    actor = dramatiq.Actor(
        fail, broker=broker, actor_name="pay", queue_name="q", priority=0, options={"max_retries": 0}
    )
    caplog.set_level(logging.DEBUG)
    hide_arguments(broker)

    message = actor.message(SECRET, again=SECRET)
    run(broker, message)

    assert f"Failed to process message pay ({message.message_id}) with unhandled exception." in caplog.text
    assert f"Received message pay ({message.message_id}) with id" in caplog.text
    assert "Received args='(not logged)' kwargs='(not logged)'." in caplog.text
    assert SECRET not in caplog.text


def test_what_a_task_logs_itself_stays_as_it_is(broker: StubBroker, caplog: pytest.LogCaptureFixture) -> None:
    def note(*items: str) -> None:
        actor.logger.info("took %r and %s", items, {"a": 1})
        actor.logger.info("%(a)s", {"a": "b"})

    actor = dramatiq.Actor(note, broker=broker, actor_name="note", queue_name="q", priority=0, options={})
    caplog.set_level(logging.DEBUG)
    hide_arguments(broker)

    run(broker, actor.message("x"))

    assert "took ('x',) and {'a': 1}" in caplog.text
    assert "b" in caplog.messages


def test_a_filter_on_a_handler_hides_the_arguments_of_a_message() -> None:
    message: dramatiq.Message[None] = dramatiq.Message(
        queue_name="q", actor_name="pay", args=(SECRET,), kwargs={}, options={}, message_id="1"
    )
    record = logging.makeLogRecord({"msg": "%s %r %d", "args": (dramatiq.MessageProxy(message), message, 3)})

    assert HiddenArguments().filter(record)
    assert record.getMessage() == "pay (1) 'pay (1)' 3"


@pytest.mark.parametrize("told", [True, False])
def test_a_consumers_failed_connection_is_logged_unless_somebody_tells_of_it(told: bool) -> None:
    heard = []

    def on_failure(queue: str, error: BaseException) -> bool:
        heard.append((queue, str(error)))
        return told

    lost = BrokerConnectionError("Error 111")  # type: ignore[no-untyped-call]  # Dramatiq's
    record = logging.makeLogRecord({"levelno": logging.CRITICAL, "msg": "…: %s", "args": (lost,)})
    failures = ConsumerFailures("default", on_failure=on_failure)

    assert failures.filter(record) is not told
    assert heard == [("default", "Error 111")]
    assert failures.filter(logging.makeLogRecord({"levelno": logging.CRITICAL, "msg": "another", "args": ()}))


def test_hiding_twice_adds_one_filter(broker: StubBroker) -> None:
    hide_arguments(broker)
    hide_arguments(broker)

    filters = logging.getLogger("dramatiq.worker.WorkerThread").filters
    assert sum(isinstance(each, HiddenArguments) for each in filters) == 1


def test_a_body_that_cannot_be_decoded_is_told_by_the_kind_of_its_fault(broker: StubBroker) -> None:
    body = f'{{"args": ["{SECRET}"'.encode()
    with pytest.raises(DecodeError) as caught:
        dramatiq.Message.decode(body)
    record = logging.makeLogRecord({"msg": "Failed to decode message using encoder %r.", "args": ("json",)})
    record.exc_info = (caught.type, caught.value, caught.tb)

    hide_arguments(broker)
    [hiding] = logging.getLogger(DECODING[0]).filters
    assert isinstance(hiding, HiddenArguments)
    assert hiding.filter(record)

    assert logging.Formatter().format(record) == "Failed to decode message using encoder 'json'. (DecodeError)"
