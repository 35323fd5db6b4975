"""The hand-over at shutdown: what waits in process goes to the queue under its id, on real servers, and runs there."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import anyio.to_thread
import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from weighbridge import Dispatcher, Ticket, current_call, task
from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue import QueueLane
from weighbridge.lanes.queue.middleware import default_middleware

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("only_own_tasks")]

ran: list[tuple[str, str, int]] = []


def note(*_: object) -> None:
    call = current_call()
    ran.append((call.id, call.lane, call.attempt))


def note_and_fail() -> None:
    note()
    raise OSError


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets the calls go that hold the lane's threads."""
    event = threading.Event()
    yield event
    event.set()


@asynccontextmanager
async def dispatcher_with_busy_threads(release: threading.Event, **settings: Any) -> AsyncIterator[Dispatcher]:
    """All that is added waits, until the dispatcher closes: then the threads are let go."""
    settings = {"policy": "all-in-process", "in_process_threads": 1, "drain_timeout_s": 10, **settings}
    settings.setdefault("namespace", f"test-{uuid4().hex}")

    @task(shares_memory=True)
    def hold() -> None:
        release.wait(20)

    async with Dispatcher(**settings) as dispatcher:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(hold)
        yield dispatcher
        release.set()


async def add(dispatcher: Dispatcher, func: Callable[..., Any], *args: Any, **options: Any) -> Ticket:
    async with dispatcher.tasks() as tasks:
        return tasks.options(**options).add_task(func, *args)


async def run_the_queue(dispatcher: Dispatcher) -> None:
    """A worker runs what was handed over, to the last message."""

    def run() -> None:
        broker = dispatcher.worker_broker()
        broker.emit_after("process_boot")
        worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
        worker.start()
        try:
            broker.join("default", timeout=20_000)
        finally:
            worker.stop()
            broker.close()

    await anyio.to_thread.run_sync(run)


async def test_what_waits_at_shutdown_is_run_by_a_worker_under_the_same_id(
    redis_url: str, release: threading.Event
) -> None:
    crosses = task(name="crosses")(note)
    async with dispatcher_with_busy_threads(release, broker_url=redis_url) as dispatcher:
        tickets = [await add(dispatcher, crosses, number) for number in range(250)]
    counts = dispatcher.in_process_counts

    # All of them, for the hand-over comes before anything else may start.
    assert (counts.handed_over, counts.succeeded) == (250, 1)
    assert ran == []
    await run_the_queue(dispatcher)
    assert sorted(call for call, _, _ in ran) == sorted(ticket.id for ticket in tickets)
    assert {lane for _, lane, _ in ran} == {"queue"}


async def test_what_must_stay_or_was_asked_to_is_finished_here(redis_url: str, release: threading.Event) -> None:
    stays = task(name="stays", shares_memory=True)(note)

    @task(name="could-cross")
    def could_cross() -> None:
        note()

    async with dispatcher_with_busy_threads(release, broker_url=redis_url) as dispatcher:
        await add(dispatcher, stays)
        await add(dispatcher, could_cross, lane="in_process")
        await add(dispatcher, note)  # not declared

    assert [lane for _, lane, _ in ran] == ["in_process"] * 3
    assert dispatcher.in_process_counts.handed_over == 0


async def test_arguments_that_do_not_cross_keep_a_call_here_and_that_is_said(
    redis_url: str, release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    @task(name="dated")
    def dated(rows: list[dict[str, str]]) -> None:
        note()

    async with dispatcher_with_busy_threads(release, broker_url=redis_url) as dispatcher:
        wrong: Any = [{"when": datetime(2026, 1, 1)}]  # noqa: DTZ001  # no zone is needed to be no str
        ticket = await add(dispatcher, dated, wrong)

    assert [(call, lane) for call, lane, _ in ran] == [(ticket.id, "in_process")]
    assert f"in_process.hand_over_refused task=dated call_id={ticket.id}" in caplog.text
    assert "2026" not in caplog.text


async def test_an_outage_at_shutdown_lets_them_run_here(release: threading.Event) -> None:
    crosses = task(name="crosses")(note)
    server = await anyio.to_thread.run_sync(EmbeddedServer.start)
    async with dispatcher_with_busy_threads(release, broker_url=server.url) as dispatcher:
        tickets = [await add(dispatcher, crosses) for _ in range(20)]
        await anyio.to_thread.run_sync(server.stop)

    assert [call for call, _, _ in ran] == [ticket.id for ticket in tickets]
    assert {lane for _, lane, _ in ran} == {"in_process"}


async def test_an_expiry_goes_on_in_the_queue(release: threading.Event) -> None:
    crosses = task(name="crosses")(note)
    broker = StubBroker(middleware=default_middleware())
    async with dispatcher_with_busy_threads(release, broker=broker) as dispatcher:
        await add(dispatcher, crosses, expires_s=60)

    (message,) = [dramatiq.Message.decode(data) for data in broker.queues["default"].queue]
    assert 0 < message.options["max_age"] <= 60_000


async def test_the_attempts_that_failed_here_count_there(redis_url: str) -> None:
    """One retry is declared: it failed here, it fails there, and it is a dead letter."""
    fails = task(name="fails", retries=1, min_backoff_s=30, max_backoff_s=30)(note_and_fail)

    async with Dispatcher(policy="all-in-process", broker_url=redis_url, namespace=f"test-{uuid4().hex}") as dispatcher:
        ticket = await add(dispatcher, fails)
        with anyio.fail_after(10):
            while not (dispatcher.in_process_counts.retried and dispatcher.in_process_counts.waiting):
                await anyio.lowlevel.checkpoint()

    await run_the_queue(dispatcher)
    assert ran == [(ticket.id, "in_process", 1), (ticket.id, "queue", 2)]


async def test_brokers_of_your_own_are_handed_over_to_as_well(release: threading.Event) -> None:
    crosses = task(name="crosses")(note)
    broker = StubBroker(middleware=default_middleware())
    async with dispatcher_with_busy_threads(release, broker=broker) as dispatcher:
        ticket = await add(dispatcher, crosses)

    assert [dramatiq.Message.decode(data).message_id for data in broker.queues["default"].queue] == [ticket.id]


async def test_a_broker_that_refuses_in_an_unforeseen_way_loses_nothing(release: threading.Event) -> None:
    class Odd(StubBroker):
        def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
            raise ZeroDivisionError

    crosses = task(name="crosses")(note)
    async with dispatcher_with_busy_threads(release, broker=Odd(middleware=default_middleware())) as dispatcher:
        ticket = await add(dispatcher, crosses)

    assert [(call, lane) for call, lane, _ in ran] == [(ticket.id, "in_process")]


async def test_more_calls_than_may_wait_for_the_broker_go_in_smaller_groups(
    redis_url: str, release: threading.Event
) -> None:
    crosses = task(name="crosses")(note)
    async with dispatcher_with_busy_threads(release, broker_url=redis_url, publisher_waiting=3) as dispatcher:
        for _ in range(40):
            await add(dispatcher, crosses)

    assert (dispatcher.in_process_counts.handed_over, ran) == (40, [])


async def test_a_fault_of_the_hand_over_itself_leaves_no_call_unnamed_and_runs_none_twice(
    redis_url: str, release: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    crosses = task(name="crosses")(note)
    async with dispatcher_with_busy_threads(release, broker_url=redis_url, drain_timeout_s=1) as dispatcher:
        tickets = [await add(dispatcher, crosses) for _ in range(2)]
        monkeypatch.setattr(QueueLane, "commit", fail)

    # Nobody knows how far the write got.
    assert (dispatcher.in_process_counts.unknown, ran) == (2, [])
    [*failed, first, second, _] = [
        record for record in caplog.records if getattr(record, "event", "").startswith("in_process.")
    ]
    assert {record.getMessage() for record in failed} == {"in_process.hand_over_failed calls=2"}
    assert all(record.exc_info is not None and record.exc_info[0] is ZeroDivisionError for record in failed)
    assert [record.getMessage() for record in (first, second)] == [
        f"in_process.call_perhaps_handed_over task=crosses call_id={ticket.id}" for ticket in tickets
    ]
