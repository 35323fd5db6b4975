"""The policy protect-latency in an open dispatcher: what comes while this process is busy or late goes to the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import anyio
import pytest

from weighbridge import Dispatcher, Weight, task

from .broker import MemoryBroker

pytestmark = pytest.mark.anyio


def compute(seconds: float) -> None:
    """Keep the event loop busy."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        pass


async def broker_is_known(dispatcher: Dispatcher) -> None:
    """Whether the broker is there is unknown until it has answered, which it is asked for in the background."""
    assert dispatcher.dispatch is not None
    assert dispatcher.dispatch.queue is not None
    with anyio.fail_after(10):
        while not dispatcher.dispatch.queue.available():  # noqa: ASYNC110  # it is asked on a thread
            await anyio.sleep(0.01)


async def comes_to(rule: str, dispatcher: Dispatcher, func: Callable[[], object]) -> None:
    """See that this rule decides about a call: soon, for until the next measure the event loop may count as late."""
    with anyio.fail_after(10):
        while dispatcher.explain(func).rule != rule:  # noqa: ASYNC110  # the lag is measured on a thread
            await anyio.sleep(0.05)


async def test_a_light_call_is_queued_while_the_event_loop_is_late(broker: MemoryBroker) -> None:
    @task(weight=Weight.LIGHT)
    async def notify() -> None: ...

    async with Dispatcher(broker=broker, policy="protect-latency") as dispatcher:
        await broker_is_known(dispatcher)
        compute(0.2)
        late = dispatcher.explain(notify)
        await comes_to("otherwise", dispatcher, notify)

    assert (late.lane, late.rule) == ("queue", "the event loop is late")


async def test_a_call_of_middle_weight_is_queued_while_another_one_runs(broker: MemoryBroker) -> None:
    started, go_on = threading.Event(), threading.Event()

    @task(shares_memory=True)
    def runs() -> None:
        started.set()
        go_on.wait(10)

    @task(weight=20)
    def resize() -> None: ...

    @task(weight=Weight.LIGHT)
    def notify() -> None: ...

    async with Dispatcher(broker=broker, policy="protect-latency") as dispatcher:
        await broker_is_known(dispatcher)
        await comes_to("otherwise", dispatcher, resize)
        try:
            async with dispatcher.tasks() as tasks:
                tasks.add_task(runs)
            await anyio.to_thread.run_sync(started.wait)
            beside = dispatcher.explain(resize)
            await comes_to("otherwise", dispatcher, notify)
        finally:
            go_on.set()
        await dispatcher.join()

    assert (beside.lane, beside.rule) == ("queue", "another call runs here")


async def test_a_sync_call_is_queued_while_no_thread_is_free(broker: MemoryBroker) -> None:
    started, go_on = threading.Event(), threading.Event()

    @task(shares_memory=True)
    def takes_the_thread() -> None:
        started.set()
        go_on.wait(10)

    @task(weight=Weight.LIGHT)
    def notify() -> None: ...

    @task(weight=Weight.LIGHT)
    async def notify_without_a_thread() -> None: ...

    async with Dispatcher(broker=broker, policy="protect-latency", in_process_threads=1) as dispatcher:
        await broker_is_known(dispatcher)
        try:
            async with dispatcher.tasks() as tasks:
                tasks.add_task(takes_the_thread)
            await anyio.to_thread.run_sync(started.wait)
            await comes_to("no thread is free", dispatcher, notify)
            await comes_to("otherwise", dispatcher, notify_without_a_thread)
        finally:
            go_on.set()
        await dispatcher.join()


async def test_of_many_calls_that_are_added_together_those_after_the_eighth_are_queued(broker: MemoryBroker) -> None:
    @task(weight=Weight.LIGHT)
    def notify() -> None: ...

    async with Dispatcher(broker=broker, policy="protect-latency") as dispatcher:
        await broker_is_known(dispatcher)
        async with dispatcher.tasks() as tasks:
            tickets = [tasks.add_task(notify) for _ in range(10)]
        lanes = [ticket.lane for ticket in tickets]
        await dispatcher.join()

    assert lanes == ["in_process"] * 8 + ["queue"] * 2


async def test_it_asks_the_broker_nothing_and_so_fits_one_that_cannot_tell_how_many_messages_wait(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    @task(weight=Weight.HEAVY)
    def render() -> None: ...

    async with Dispatcher(broker=broker, policy="protect-latency") as dispatcher:
        await broker_is_known(dispatcher)
        await anyio.sleep(0.1)

    assert "load.broker_not_read" not in caplog.text
