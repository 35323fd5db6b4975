"""The dispatcher: one for an app, open while the app serves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from weighbridge import BackgroundTasks, Decision, Dispatcher, Facts, Lane, Weight, task
from weighbridge.errors import (
    BrokerNotConfiguredError,
    CommittedError,
    DispatcherError,
    EnqueueError,
    NotOpenError,
    PolicyNotFoundError,
    SeveralDispatchersError,
)

from .broker import MemoryBroker, SlowBroker
from .happenings import happened, note
from .service import service

pytestmark = pytest.mark.anyio


# -- outside a request --------------------------------------------------------------------------------------


async def test_tasks_can_be_added_outside_a_request(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(charge)
            tasks.add_task(note, "stays")
            assert (broker.queued, happened) == ([], [])
        assert broker.queued == ["charge"]
        await dispatcher.join()
        assert happened == ["stays"]


async def test_they_can_be_added_from_a_thread(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher:

        def on_a_thread() -> list[str]:
            with dispatcher.tasks() as tasks:
                tasks.add_task(charge)
                tasks.add_task(note, "stays")
            return broker.queued

        assert await anyio.to_thread.run_sync(on_a_thread) == ["charge"]
        await dispatcher.join()

    assert happened == ["stays"]


async def test_they_can_be_added_from_a_thread_of_somebody_elses(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher:

        def scheduler() -> None:
            with dispatcher.tasks() as tasks:
                tasks.add_task(charge)
                tasks.add_task(note, "stays")

        thread = threading.Thread(target=scheduler)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        await dispatcher.join()

    assert (broker.queued, happened) == (["charge"], ["stays"])


async def test_an_error_in_the_block_accepts_nothing(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher:

        async def fail() -> None:
            async with dispatcher.tasks() as tasks:
                tasks.add_task(charge)
                tasks.add_task(note, "stays")
                raise LookupError

        with pytest.raises(LookupError):
            await fail()
        await dispatcher.join()

    assert (broker.queued, happened) == ([], [])


async def test_an_error_in_the_block_on_a_thread_accepts_nothing(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher:

        def on_a_thread() -> None:
            with dispatcher.tasks() as tasks:
                tasks.add_task(charge)
                tasks.add_task(note, "stays")
                raise LookupError

        with pytest.raises(LookupError):
            await anyio.to_thread.run_sync(on_a_thread)
        await dispatcher.join()

    assert (broker.queued, happened) == ([], [])


async def test_without_the_broker_the_block_raises_and_nothing_of_it_runs(no_broker_url: str) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker_url=no_broker_url) as dispatcher:

        async def add() -> None:
            async with dispatcher.tasks() as tasks:
                tasks.add_task(note, "stays")
                tasks.add_task(charge)

        with pytest.raises(EnqueueError) as refusal:
            await add()
        await dispatcher.join()

    assert refusal.value.unknown is False
    assert happened == []


async def test_calls_that_were_given_up_in_the_block_are_not_committed_at_its_end(
    no_broker_url: str, broker: MemoryBroker
) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker_url=no_broker_url) as dispatcher:
        for tasks_of in (dispatcher.tasks, partial(BackgroundTasks, dispatcher=dispatcher)):
            async with tasks_of() as tasks:
                tasks.add_task(charge)
                tasks.add_task(note, "stays")
                with pytest.raises(EnqueueError):
                    await tasks.commit()
                tasks.discard()
                with pytest.raises(CommittedError, match=r"add_task\(note\) after discard\(\)"):
                    tasks.add_task(note, "late")
        await dispatcher.join()

    assert happened == []


async def test_calls_of_a_thread_that_fails_after_its_commit_give_their_room_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Dispatcher() as dispatcher:

        def on_a_thread() -> None:
            with BackgroundTasks(dispatcher=dispatcher) as tasks:
                tasks.add_task(note, "never")
                anyio.from_thread.run(tasks.commit)
                raise LookupError

        with pytest.raises(LookupError):
            await anyio.to_thread.run_sync(on_a_thread)
        with anyio.fail_after(1):
            await dispatcher.join()

    assert happened == []
    assert "background.calls_not_run" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_block_that_is_cancelled_while_it_commits_is_accepted_as_a_whole() -> None:
    """In asyncio's own way: it ends when its calls are accepted, and those that stay run."""
    broker = SlowBroker()

    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=broker) as dispatcher:

        async def job() -> None:
            async with dispatcher.tasks() as tasks:
                tasks.add_task(charge)
                tasks.add_task(note, "stays")

        running = asyncio.create_task(job())
        await anyio.to_thread.run_sync(broker.asked.wait)
        running.cancel()
        await asyncio.sleep(0)
        broker.let_in.set()
        await asyncio.wait([running])
        await dispatcher.join()

    assert running.cancelled()
    assert (broker.queued, happened) == (["charge"], ["stays"])
    broker.close()


async def test_on_another_event_loop_they_are_refused() -> None:
    """Its lanes belong to the loop that opened it; ``with`` on a thread leads there."""

    async def elsewhere(dispatcher: Dispatcher) -> None:
        with pytest.raises(DispatcherError, match="another event loop"):
            async with dispatcher.tasks():
                note("entered")
        with pytest.raises(DispatcherError, match="another event loop"):
            async with BackgroundTasks(dispatcher=dispatcher):
                note("entered")

    async with Dispatcher() as dispatcher:
        await anyio.to_thread.run_sync(anyio.run, elsewhere, dispatcher)

    assert happened == []


def test_from_a_thread_whose_dispatcher_has_lost_its_loop_they_are_refused() -> None:
    entered = Dispatcher()
    blocks: list[Any] = []

    async def serve() -> None:
        async with entered:
            blocks.append(entered.tasks())

    anyio.run(serve)
    with pytest.raises(NotOpenError, match="loop of the dispatcher has ended"), blocks[0] as tasks:
        tasks.add_task(note, "never")

    assert happened == []


async def test_a_with_that_would_block_the_loop_is_refused() -> None:
    async with Dispatcher() as dispatcher:
        with pytest.raises(DispatcherError, match="async with"), dispatcher.tasks():
            pass


async def test_join_returns_once_nothing_waits_or_runs() -> None:
    async with Dispatcher() as dispatcher:
        await dispatcher.join()

        async def second() -> None:
            note("second")

        async def first() -> None:
            note("first")
            async with dispatcher.tasks() as tasks:
                tasks.add_task(second)

        async with dispatcher.tasks() as tasks:
            tasks.add_task(first)
        await dispatcher.join()
        assert happened == ["first", "second"]


# -- opening and closing ------------------------------------------------------------------------------------


async def test_a_dispatcher_can_be_opened_again(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    dispatcher = Dispatcher(broker=broker)
    for _ in range(2):
        async with dispatcher:
            async with dispatcher.tasks() as tasks:
                tasks.add_task(charge)
                tasks.add_task(note, "stays")
            await dispatcher.join()

    assert broker.queued == ["charge", "charge"]
    assert happened == ["stays", "stays"]


async def test_it_is_opened_once_at_a_time() -> None:
    async with Dispatcher() as dispatcher:
        with pytest.raises(DispatcherError, match="open already"):
            await dispatcher.__aenter__()


async def test_while_it_is_closed_it_says_so() -> None:
    dispatcher = Dispatcher()

    with pytest.raises(NotOpenError, match="open it"):
        dispatcher.tasks()
    with pytest.raises(NotOpenError, match="open it"):
        await dispatcher.join()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("with_queue", [False, True])
async def test_an_error_of_the_block_comes_out_as_it_is(with_queue: bool, broker: MemoryBroker) -> None:
    with pytest.raises(LookupError):  # and no ExceptionGroup around it
        async with Dispatcher(broker=broker if with_queue else None):
            raise LookupError


def test_a_service_with_a_lifespan_of_its_own_enters_it_there(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    dispatcher = Dispatcher(broker=broker)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        note("opened")
        async with dispatcher:
            yield
        note("closed")

    app = FastAPI(lifespan=lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> str:
        return tasks.add_task(charge).lane

    with TestClient(app) as client:
        assert client.post("/").json() == "queue"

    assert broker.queued == ["charge"]
    assert happened == ["opened", "closed"]


def test_a_mounted_app_uses_the_dispatcher_of_the_outer_one(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    dispatcher = Dispatcher(broker=broker, wait_in_process=True)
    app, mounted = FastAPI(lifespan=dispatcher.lifespan), FastAPI()

    @mounted.post("/")
    async def endpoint(tasks: BackgroundTasks) -> str:
        tasks.add_task(note, "stays")
        return tasks.add_task(charge).lane

    app.mount("/mounted", mounted)
    with TestClient(app) as client:
        assert client.post("/mounted/").json() == "queue"

    assert (broker.queued, happened) == (["charge"], ["stays"])


# -- the policy ---------------------------------------------------------------------------------------------


def test_the_policy_can_be_changed_while_running(broker: MemoryBroker) -> None:
    @task(weight=Weight.LIGHT)
    def light() -> None: ...

    class AtNight:
        def decide(self, facts: Facts, /) -> Decision:
            return Decision(lane=Lane.IN_PROCESS, reason=f"{facts.name} may wait", rule="night")

    dispatcher = Dispatcher(broker=broker)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> str:
        return tasks.add_task(light).lane

    @app.put("/policy/{name}")
    async def change(name: str) -> None:
        dispatcher.policy = AtNight() if name == "night" else name

    with TestClient(app) as client:
        lanes = [client.post("/").json()]
        for name in ("all-queued", "by-weight", "all-queued", "night"):
            client.put(f"/policy/{name}")
            lanes.append(client.post("/").json())

    assert lanes == ["in_process", "queue", "in_process", "queue", "in_process"]
    assert isinstance(dispatcher.policy, AtNight)


async def test_a_policy_that_reads_a_group_of_facts_gets_all_its_parts() -> None:
    class CountedBroker(MemoryBroker):
        def waiting(self, queue: str) -> int:
            return 3

    class LooksAtTheBroker:
        reads = frozenset({"broker"})

        def decide(self, facts: Facts, /) -> Decision:
            return Decision(Lane.IN_PROCESS, reason=f"{facts.broker.waiting} wait", rule="counted")

    @task
    def light() -> None: ...

    async with Dispatcher(broker=CountedBroker(), policy=LooksAtTheBroker()) as dispatcher:
        with anyio.fail_after(10):
            while dispatcher.explain(light).reason != "3 wait":  # noqa: ASYNC110  # it is read on a thread
                await anyio.sleep(0.01)


async def test_a_policy_that_cannot_be_used_changes_nothing(broker: MemoryBroker) -> None:
    async with Dispatcher(broker=broker) as dispatcher:
        before = dispatcher.policy
        with pytest.raises(PolicyNotFoundError):
            dispatcher.policy = "by-wieght"
        assert dispatcher.policy is before


async def test_a_policy_that_could_queue_is_refused_where_there_is_no_broker() -> None:
    @task(weight=Weight.LIGHT)
    def light() -> None: ...

    async with Dispatcher() as dispatcher:
        with pytest.raises(BrokerNotConfiguredError, match="light"):
            dispatcher.policy = "all-queued"
        assert dispatcher.explain(light).lane is Lane.IN_PROCESS


async def test_without_a_broker_a_service_whose_tasks_all_stay_just_runs() -> None:
    @task(weight=Weight.LIGHT)
    def light() -> None: ...

    @task(weight=Weight.HEAVY, shares_memory=True)
    def warm() -> None: ...

    async with Dispatcher() as dispatcher:
        assert dispatcher.explain(warm).lane is Lane.IN_PROCESS


async def test_without_a_broker_a_task_that_could_be_queued_stops_the_start_and_is_named() -> None:
    @task(weight=Weight.HEAVY)
    def render() -> None: ...

    with pytest.raises(BrokerNotConfiguredError, match=r"render.*WEIGHBRIDGE_BROKER_URL"):
        async with Dispatcher():
            pass


# -- several ------------------------------------------------------------------------------------------------


def test_two_apps_with_two_dispatchers_never_mix() -> None:
    @task(durable=True)
    def charge() -> None: ...

    brokers = [MemoryBroker(), MemoryBroker()]
    first, second = (service(broker, lambda tasks: tasks.add_task(charge), wait_in_process=False) for broker in brokers)
    with TestClient(first) as one, TestClient(second) as two:
        for client in (one, two, two):
            assert client.post("/").status_code == 200

    assert [len(broker.queued) for broker in brokers] == [1, 2]


def test_two_apps_on_one_loop_never_mix_either() -> None:
    @task(durable=True)
    def charge() -> None: ...

    brokers = [MemoryBroker(), MemoryBroker()]
    dispatchers = [Dispatcher(broker=broker) for broker in brokers]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with dispatchers[0], dispatchers[1]:
            yield

    app = FastAPI(lifespan=lifespan)
    for number, dispatcher in enumerate(dispatchers):
        inner = FastAPI(dependencies=[dispatcher.gate])

        @inner.post("/")
        async def endpoint(tasks: BackgroundTasks) -> str:
            return tasks.add_task(charge).lane

        app.mount(f"/{number}", inner)

    with TestClient(app) as client:
        for number in (0, 1, 1):
            assert client.post(f"/{number}/").json() == "queue"

    assert [len(broker.queued) for broker in brokers] == [1, 2]


async def test_where_several_are_open_a_stand_alone_facade_asks_which(broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=MemoryBroker()), Dispatcher(broker=broker) as second:
        with pytest.raises(SeveralDispatchersError, match="2 dispatchers"):
            BackgroundTasks()
        async with BackgroundTasks(dispatcher=second) as tasks:
            tasks.add_task(charge)

    assert broker.queued == ["charge"]


def test_a_gate_whose_dispatcher_was_never_opened_is_said_at_each_request(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI(dependencies=[Dispatcher().gate])

    @app.post("/")
    async def create(tasks: BackgroundTasks) -> None:
        tasks.add_task(note, "called")

    assert TestClient(app).post("/").status_code == 200
    assert "background.dispatcher_not_open" in caplog.text
    assert "in tests: with TestClient(app) as client" in caplog.text
    assert happened == ["called"]


# -- waiting for what runs in process -----------------------------------------------------------------------


def test_a_join_in_a_request_that_has_committed_is_refused_for_it_would_never_end() -> None:
    dispatcher = Dispatcher()
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])
    errors: list[DispatcherError] = []

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        tasks.add_task(note, "ran")
        await dispatcher.join()  # nothing is committed yet
        await tasks.commit()
        with anyio.fail_after(5):
            try:
                await dispatcher.join()
            except DispatcherError as error:
                errors.append(error)

    with TestClient(app) as client:
        assert client.post("/").status_code == 200

    assert [str(error) for error in errors] == [
        (
            "join() would wait for itself: for the end of a call of a request that has not ended; "
            "await it outside of requests and tasks, as in a test or a script"
        )
    ]
    assert happened == ["ran"]


async def test_a_join_in_a_task_that_runs_in_process_is_refused() -> None:
    refused: list[str] = []

    async with Dispatcher() as dispatcher, Dispatcher() as other:

        async def joins() -> None:
            await other.join()  # which does not wait for this
            try:
                await dispatcher.join()
            except DispatcherError as error:
                refused.append(error.problem)

        with anyio.fail_after(5):
            async with dispatcher.tasks() as tasks:
                tasks.add_task(joins)
            await dispatcher.join()

    assert len(refused) == 1
    assert refused[0].startswith("join() would wait for itself: for the end of a call of ")


async def test_a_join_after_calls_that_were_committed_outside_a_request_waits_for_them() -> None:
    async with Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            tasks.add_task(note, "one")
            await tasks.commit()
        await dispatcher.join()

        assert happened == ["one"]
