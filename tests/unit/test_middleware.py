"""The middleware of weighbridge's own brokers: no retry is lost, whatever the broker does meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AsyncIO, Retries, raise_thread_exception
from dramatiq.middleware.time_limit import TimeLimitExceeded
from redis.exceptions import ConnectionError as RedisConnectionError

from weighbridge.arguments import ArgumentCodec
from weighbridge.lanes.queue import middleware
from weighbridge.lanes.queue.actor import bind
from weighbridge.lanes.queue.middleware import (
    LeaseFence,
    PersistentRetries,
    RunTimeLimit,
    ServerAgeLimit,
    default_middleware,
)
from weighbridge.task import TaskSpec


def lost(text: str) -> ConnectionClosed:
    return ConnectionClosed(text)  # type: ignore[no-untyped-call]  # Dramatiq's


class AwayBroker(StubBroker):
    """A broker that refuses to enqueue as often as it is told, and notes each try."""

    def __init__(self, middleware: list[dramatiq.Middleware]) -> None:
        super().__init__(middleware=middleware, fail_fast_default=False)
        self.refusals: list[Exception] = []
        self.tries: list[int | None] = []

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        self.tries.append(message.options.get("retries"))
        if self.refusals and message.options.get("retries"):
            raise self.refusals.pop(0)
        return super().enqueue(message, delay=delay)


@contextmanager
def worker_on(broker: dramatiq.Broker) -> Iterator[None]:
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=1)
    worker.start()
    yield
    worker.stop()


def failing_once(broker: dramatiq.Broker, runs: list[int]) -> dramatiq.Actor[[], None]:
    @dramatiq.actor(broker=broker, actor_name="run", min_backoff=1, max_backoff=2)
    def run() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError("the first run fails")

    return run


@pytest.mark.parametrize("error", [RedisConnectionError("Connection refused."), lost("lost")])
def test_a_retry_waits_until_the_broker_is_back(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    broker = AwayBroker([PersistentRetries(pause_s=0.01)])
    runs: list[int] = []
    actor = failing_once(broker, runs)
    broker.refusals = [error, error, error]
    with worker_on(broker):
        actor.send()
        broker.join("default", timeout=10_000)
    assert len(runs) == 2
    assert broker.tries[1:5] == [1, 1, 1, 1], "each try is the same retry"
    assert broker.dead_letters == []
    told = [record.getMessage() for record in caplog.records if record.name == "weighbridge.queue"]
    assert len(told) == 1, "once, not at each try"
    assert told[0].startswith("queue.retry_waits task=run call_id=")


def test_dramatiqs_own_retries_lose_the_call() -> None:
    """The control: without it, the test above would prove nothing."""
    broker = AwayBroker([Retries()])
    runs: list[int] = []
    actor = failing_once(broker, runs)
    broker.refusals = [lost("lost")]
    with worker_on(broker):
        actor.send()
        broker.join("default", timeout=10_000)
    assert len(runs) == 1
    assert broker.dead_letters == []


def test_a_retry_that_cannot_be_built_makes_a_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    broker = AwayBroker([PersistentRetries(pause_s=0.01)])
    runs: list[int] = []
    actor = failing_once(broker, runs)
    broker.refusals = [TypeError("not JSON serializable")]
    with worker_on(broker):
        actor.send()
        broker.join("default", timeout=10_000)
    assert len(broker.dead_letters) == 1
    assert "queue.retry_refused" in caplog.text


def test_a_time_limit_does_not_interrupt_a_retry_that_waits() -> None:
    broker = AwayBroker(
        [
            PersistentRetries(pause_s=0.01) if isinstance(each, PersistentRetries) else each
            for each in default_middleware()
        ]
    )
    runs: list[int] = []
    actor = failing_once(broker, runs)
    actor.options["time_limit"] = 50
    started_s = time.monotonic()
    broker.refusals = [lost("lost")] * 60
    with worker_on(broker):
        actor.send()
        broker.join("default", timeout=20_000)
    assert time.monotonic() - started_s > 0.5, "the wait was longer than the time limit, and its interval"
    assert len(runs) == 2


class SlowLog(logging.Handler):
    """Takes longer over a failure than the time limit of its run allows."""

    def emit(self, record: logging.LogRecord) -> None:
        if "unhandled exception" in record.getMessage():
            for _ in range(60):
                time.sleep(0.01)


def test_a_time_limit_that_passes_while_a_failure_is_logged_loses_neither_the_retry_nor_the_thread() -> None:
    broker = AwayBroker(default_middleware())
    runs: list[int] = []

    def run() -> None:
        runs.append(1)
        raise RuntimeError("each run fails")

    spec = TaskSpec(
        name="run",
        func=run,
        is_async=False,
        retries=1,
        min_backoff_s=0.001,
        max_backoff_s=0.002,
        time_limit_s=0.1,
        codec=ArgumentCodec(run, task="run"),
    )
    actor = bind(broker, spec)
    slow, logger = SlowLog(), logging.getLogger("dramatiq.worker.WorkerThread")
    logger.addHandler(slow)
    try:
        with worker_on(broker):
            actor.send()
            broker.join("default", timeout=10_000)
    finally:
        logger.removeHandler(slow)

    assert len(runs) == 2
    assert len(broker.dead_letters) == 1


def test_a_run_that_has_ended_is_not_interrupted_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RunTimeLimit(time_limit=1_000, interval=10)
    raising = threading.Event()

    def slowly(thread_id: int, error: type[BaseException]) -> None:
        raising.set()
        time.sleep(0.2)  # in which the run ends
        raise_thread_exception(thread_id, error)  # type: ignore[no-untyped-call]  # Dramatiq's

    monkeypatch.setattr(middleware, "raise_thread_exception", slowly)
    heard: list[str] = []

    def run() -> None:
        limit.manager.add_timeout(threading.get_ident(), 1)
        raising.wait(10)
        try:
            limit.manager.remove_timeout(threading.get_ident())
        except TimeLimitExceeded:
            heard.append("as part of the run")
        try:
            for _ in range(40):
                time.sleep(0.01)
        except TimeLimitExceeded:
            heard.append("after the run")

    limit.after_process_boot(StubBroker())  # type: ignore[no-untyped-call]  # Dramatiq's
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert heard == ["as part of the run"]


def test_each_kind_of_middleware_is_there_once() -> None:
    kinds = [type(each) for each in default_middleware()]
    assert len(set(kinds)) == len(kinds)
    assert {PersistentRetries, LeaseFence, ServerAgeLimit, RunTimeLimit, AsyncIO} <= set(kinds)


def test_undeclared_retries_are_three_within_a_minute() -> None:
    [retries] = [each for each in default_middleware() if isinstance(each, Retries)]
    assert (retries.max_retries, retries.min_backoff, retries.max_backoff) == (3, 1_000, 60_000)
