"""``tasks.options(…)`` changes one call; it beats the policy, and never a constraint."""

from __future__ import annotations

import time

import anyio
import pytest
from fastapi.testclient import TestClient

from weighbridge import BackgroundTasks, Dispatcher, Lane, Ticket, Weight, task
from weighbridge.errors import ConstraintError, OptionError

from .broker import MemoryBroker
from .happenings import happened, note
from .service import service

pytestmark = pytest.mark.anyio


def test_a_lane_that_is_asked_for_beats_the_policy(broker: MemoryBroker) -> None:
    @task(weight=Weight.LIGHT)
    def light() -> None:
        note("light")

    @task(weight=Weight.HEAVY)
    def heavy() -> None:
        note("heavy")

    with TestClient(service(broker, lambda tasks: tasks.options(lane="queue").add_task(light))) as client:
        assert client.post("/").json() == "queue"
    with TestClient(service(broker, lambda tasks: tasks.options(lane=Lane.IN_PROCESS).add_task(heavy))) as client:
        assert client.post("/").json() == "in_process"

    assert broker.queued == ["light"]
    assert happened == ["heavy"]


async def test_a_lane_that_is_asked_for_never_beats_a_constraint(broker: MemoryBroker) -> None:
    @task(shares_memory=True)
    def warm() -> None: ...

    @task(durable=True)
    def charge() -> None: ...

    def undeclared() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:
        for func, lane in ((warm, Lane.QUEUE), (undeclared, Lane.QUEUE), (charge, Lane.IN_PROCESS)):
            with pytest.raises(ConstraintError, match=rf"{func.__name__}.*options\(lane='{lane}'\)"):
                tasks.options(lane=lane).add_task(func)

    assert broker.queued == []


async def test_a_refused_call_leaves_the_others_as_they_are(broker: MemoryBroker) -> None:
    @task(shares_memory=True)
    def warm() -> None:
        note("warm")

    async with Dispatcher(broker=broker) as dispatcher:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(warm)
            with pytest.raises(ConstraintError):
                tasks.options(lane="queue").add_task(warm)
        await dispatcher.join()

    assert happened == ["warm"]


async def test_a_delay_means_the_queue(broker: MemoryBroker) -> None:
    @task(weight=Weight.LIGHT)
    def remind(name: str) -> None: ...

    async with Dispatcher(broker=broker, policy="all-in-process") as dispatcher, dispatcher.tasks() as tasks:
        ticket = tasks.options(delay_s=60).add_task(remind, "ann")

    assert (ticket.lane, "delay_s" in ticket.reason) == (Lane.QUEUE, True)
    (message,) = broker.messages()
    assert 59_000 < message.options["eta"] - time.time() * 1_000 <= 60_500


async def test_a_delay_is_refused_for_what_cannot_be_queued(broker: MemoryBroker) -> None:
    @task(shares_memory=True)
    def warm() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:
        with pytest.raises(ConstraintError, match="shares_memory"):
            tasks.options(delay_s=1).add_task(warm)
        with pytest.raises(OptionError, match="only the queue waits"):
            tasks.options(delay_s=1, lane="in_process").add_task(warm)


async def test_a_call_has_the_weight_that_it_is_given(broker: MemoryBroker) -> None:
    @task(weight=Weight.LIGHT)
    def render(pages: int) -> None: ...

    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:
        usual = tasks.add_task(render, 1)
        unusual = tasks.options(weight=500).add_task(render, 10_000)

    assert (usual.weight, usual.lane) == (1.0, Lane.IN_PROCESS)
    assert (unusual.weight, unusual.lane) == (500.0, Lane.QUEUE)


async def test_every_keyword_of_add_task_belongs_to_the_task(broker: MemoryBroker) -> None:
    @task
    async def send(*, weight: int, lane: str, delay_s: int, func: str) -> None:
        note(f"{weight} {lane} {delay_s} {func}")

    async with Dispatcher(broker=broker) as dispatcher:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(send, weight=70, lane="left", delay_s=3, func="f")
        await dispatcher.join()

    assert happened == ["70 left 3 f"]


async def test_every_keyword_belongs_to_a_queued_task_too(broker: MemoryBroker) -> None:
    @task(durable=True)
    async def send(self: str, func: str, args: str, options: str) -> None:
        note(f"{self} {func} {args} {options}")

    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:
        tasks.add_task(send, self="a", func="b", args="c", options="d")
    await anyio.to_thread.run_sync(run_all, broker)

    assert happened == ["a b c d"]


def run_all(broker: MemoryBroker) -> None:
    with broker.worker():
        pass


async def test_a_call_that_waited_longer_than_it_may_does_not_run() -> None:
    async with Dispatcher(in_process_running=1) as dispatcher:
        holding, let_go = anyio.Event(), anyio.Event()

        async def hold() -> None:
            holding.set()
            await let_go.wait()

        async def late(name: str) -> None:
            note(name)

        async with dispatcher.tasks() as tasks:
            tasks.add_task(hold)
        await holding.wait()
        async with dispatcher.tasks() as tasks:
            tasks.options(expires_s=0.01).add_task(late, "expired")
            tasks.options(expires_s=60).add_task(late, "in time")
        await anyio.sleep(0.02)
        let_go.set()
        await dispatcher.join()

    assert happened == ["in time"]


async def test_a_queued_call_takes_its_expiry_along(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:
        tasks.options(expires_s=30).add_task(charge)

    (message,) = broker.messages()
    assert message.options["max_age"] == 30_000


def test_one_view_serves_several_calls(broker: MemoryBroker) -> None:
    def one() -> None:
        note("one")

    def add(tasks: BackgroundTasks) -> Ticket:
        here = tasks.options(lane="in_process", expires_s=60)
        here.add_task(one)
        return here.add_task(one)

    with TestClient(service(broker, add)) as client:
        client.post("/")

    assert happened == ["one", "one"]
