"""Log records know the call whose task has logged them, in both lanes."""

from __future__ import annotations

import io
import logging
import logging.config
import logging.handlers
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import anyio.lowlevel
import pytest
from fastapi.testclient import TestClient

from weighbridge import CallLogFilter, Dispatcher, Lane, Ticket, task
from weighbridge.testing import running_as

from .broker import MemoryBroker
from .service import service

logger = logging.getLogger("shop")
NAMES = ("call_id", "task", "attempt", "lane")


class Kept(logging.Handler):
    """Keeps the records that a handler with the filter gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(CallLogFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, name: str = "shop") -> list[tuple[Any, ...]]:
        return [tuple(vars(record)[each] for each in NAMES) for record in self.records if record.name == name]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def say() -> None:
    logger.info("said")


async def say_async() -> None:
    await anyio.lowlevel.checkpoint()
    logger.info("said")


def tries() -> None:
    logger.info("tried")
    raise OSError("not yet")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("func", [say, say_async])
async def test_a_record_of_a_task_in_process_has_its_call(kept: Kept, func: Callable[[], Any]) -> None:
    async with Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            tickets = [tasks.add_task(func), tasks.add_task(func)]
        await dispatcher.join()
    assert kept.of() == [(ticket.id, f"{__name__}.{func.__name__}", 1, "in_process") for ticket in tickets]


@pytest.mark.parametrize("func", [say, say_async])
def test_a_record_of_a_queued_task_has_its_call(broker: MemoryBroker, kept: Kept, func: Callable[[], Any]) -> None:
    declared = task(func, durable=True, name="say")
    tickets: list[Ticket] = []

    def add(tasks: Any) -> Ticket:
        tickets.append(tasks.add_task(declared))
        return tickets[-1]

    Dispatcher(broker=broker).worker_broker()
    with TestClient(service(broker, add)) as client, broker.worker():
        client.post("/")
    assert kept.of() == [(tickets[0].id, "say", 1, "queue")]


def test_what_dramatiq_logs_of_a_failed_run_has_its_call(broker: MemoryBroker, kept: Kept) -> None:
    declared = task(tries, durable=True, name="tries", retries=1, min_backoff_s=0.001, max_backoff_s=0.001)
    tickets: list[Ticket] = []

    def add(tasks: Any) -> Ticket:
        tickets.append(tasks.add_task(declared))
        return tickets[-1]

    Dispatcher(broker=broker).worker_broker()
    with pytest.raises(OSError, match="not yet"), TestClient(service(broker, add)) as client, broker.worker():
        client.post("/")

    lines = [record for record in kept.records if record.name.startswith("dramatiq.")]
    failed = [record for record in lines if record.exc_info]
    assert [(record.__dict__["call_id"], record.__dict__["attempt"]) for record in failed] == [
        (tickets[0].id, 1),
        (tickets[0].id, 2),
    ]
    retried = [record for record in lines if "Retry" in record.getMessage() or "Retries" in record.getMessage()]
    assert {record.__dict__["call_id"] for record in retried} == {tickets[0].id}


@pytest.mark.anyio
async def test_a_record_has_the_attempt(kept: Kept) -> None:
    again = task(tries, shares_memory=True, retries=1, min_backoff_s=0.001, name="tries")
    async with Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            ticket = tasks.add_task(again)
        await dispatcher.join()
    assert kept.of() == [(ticket.id, "tries", attempt, "in_process") for attempt in (1, 2)]
    # Of the failure too, which the lane logs itself: the event names its call.
    assert [(record.__dict__["call_id"], record.levelname) for record in kept.records if record.name != "shop"] == [
        (ticket.id, "WARNING"),
        (ticket.id, "ERROR"),
    ]


def test_a_record_of_no_task_has_dashes_so_that_no_format_fails(kept: Kept) -> None:
    logger.info("outside")

    assert kept.of() == [("-", "-", "-", "-")]
    line = logging.Formatter("%(call_id)s %(task)s %(attempt)s %(lane)s %(message)s").format(kept.records[0])
    assert line == "- - - - outside"


def test_what_stands_outside_can_be_chosen() -> None:
    record = logging.makeLogRecord({"msg": "outside"})

    assert CallLogFilter(outside=None).filter(record) is True
    assert {name: vars(record)[name] for name in NAMES} == dict.fromkeys(NAMES)


def test_an_event_of_another_call_keeps_that_one_and_gets_no_attempt(kept: Kept) -> None:
    with running_as("7", task="shop.pay", lane=Lane.QUEUE):
        logger.info("added", extra={"call_id": "8", "task": "shop.mail"})
        logger.info("own", extra={"call_id": "7"})

    assert kept.of() == [("8", "shop.mail", "-", "-"), ("7", "shop.pay", 1, "queue")]


@pytest.mark.parametrize("name", NAMES[1:])
def test_what_a_record_has_already_stays(kept: Kept, name: str) -> None:
    with running_as("7"):
        logger.info("own", extra={name: "of its own"})

    expected = dict(zip(NAMES, ("7", "test", 1, "in_process"), strict=True)) | {name: "of its own"}
    assert kept.of() == [tuple(expected.values())]


def test_two_handlers_with_the_filter_agree(kept: Kept) -> None:
    other = Kept()
    logging.getLogger().addHandler(other)
    try:
        with running_as("7"):
            logger.info("said")
    finally:
        logging.getLogger().removeHandler(other)

    assert kept.of() == other.of() == [("7", "test", 1, "in_process")]


def test_a_listener_on_another_thread_gets_the_call_from_the_handler_before_it() -> None:
    stream, records = io.StringIO(), queue.Queue[logging.LogRecord]()
    before, last = logging.handlers.QueueHandler(records), logging.StreamHandler(stream)
    before.addFilter(CallLogFilter())
    last.addFilter(CallLogFilter())
    last.setFormatter(logging.Formatter("%(call_id)s %(message)s"))
    listener = logging.handlers.QueueListener(records, last)
    listener.start()
    with running_as("7"):
        before.handle(logging.makeLogRecord({"msg": "said"}))
    listener.stop()

    assert stream.getvalue() == "7 said\n"


CONFIGURED = """
import logging, logging.config
logging.config.dictConfig({
    "version": 1,
    "filters": {"call": {"()": "weighbridge.CallLogFilter", "outside": "nobody"}},
    "formatters": {"line": {"format": "%(call_id)s %(name)s %(message)s"}},
    "handlers": {"out": {
        "class": "logging.StreamHandler", "stream": "ext://sys.stdout", "filters": ["call"], "formatter": "line",
    }},
    "root": {"level": "INFO", "handlers": ["out"]},
})
import sys
from weighbridge.testing import running_as
logging.getLogger("shop").info("outside")
with running_as("7"):
    logging.getLogger("shop.mail").info("inside")
assert "dramatiq" not in sys.modules and "redis" not in sys.modules
"""


def test_a_configuration_of_logging_names_the_filter_and_loads_no_broker() -> None:
    ended = subprocess.run([sys.executable, "-c", CONFIGURED], capture_output=True, text=True, timeout=60, check=False)

    assert (ended.stdout, ended.stderr) == ("nobody shop outside\n7 shop.mail inside\n", "")
