"""A running task can ask which call it is, and add others, in both lanes."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, cast

import anyio
import anyio.lowlevel
import dramatiq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import Response

from weighbridge import BackgroundTasks, CurrentCall, Dispatcher, Lane, Ticket, current_call, task
from weighbridge.errors import ConstraintError, NoCurrentCallError
from weighbridge.testing import running_as

from .broker import MemoryBroker
from .happenings import happened, note
from .service import service

pytestmark = pytest.mark.anyio

#: What the tasks saw, in order.
seen: list[CurrentCall | None] = []
#: The dispatcher that the tasks of a test use, as one of a module would.
at_hand: list[Dispatcher] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()
    at_hand.clear()


def look() -> None:
    seen.append(current_call())


async def look_async() -> None:
    await anyio.lowlevel.checkpoint()
    seen.append(current_call())


def tickets_of(
    adds: Callable[[BackgroundTasks], Ticket],
) -> tuple[list[Ticket], Callable[[BackgroundTasks], Ticket]]:
    kept: list[Ticket] = []

    def add(tasks: BackgroundTasks) -> Ticket:
        kept.append(adds(tasks))
        return kept[-1]

    return kept, add


# -- in process ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("func", [look, look_async])
async def test_an_in_process_call_knows_its_id_and_its_attempt(func: Callable[[], Any]) -> None:
    async with Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            ticket = tasks.add_task(func)
        await dispatcher.join()
    name = f"{__name__}.{func.__name__}"
    assert seen == [CurrentCall(id=ticket.id, task=name, attempt=1, lane=Lane.IN_PROCESS)]


async def test_a_retry_in_process_is_the_next_attempt_of_the_same_call() -> None:
    @task(shares_memory=True, retries=2, min_backoff_s=0.001)
    async def fail_twice() -> None:
        seen.append(current_call())
        if len(seen) < 3:
            raise OSError("not yet")

    async with Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            ticket = tasks.add_task(fail_twice)
        await dispatcher.join()
    assert [(each.id, each.attempt) for each in seen if each] == [(ticket.id, 1), (ticket.id, 2), (ticket.id, 3)]


@pytest.mark.parametrize("func", [look, look_async])
def test_a_call_that_starlette_runs_knows_its_id(func: Callable[[], Any]) -> None:
    tickets, add = tickets_of(lambda tasks: tasks.add_task(func))
    with TestClient(service(None, add, on_failure="stop")) as client:
        client.post("/")
    assert [each.id for each in seen if each] == [tickets[0].id]


async def test_a_call_without_a_dispatcher_knows_its_id() -> None:
    async with BackgroundTasks() as tasks:
        ticket = tasks.add_task(look_async)
    await tasks()
    assert [each.id for each in seen if each] == [ticket.id]


async def test_a_call_that_a_task_adds_is_another_and_the_outer_one_goes_on() -> None:
    async with Dispatcher() as dispatcher:

        async def outer() -> None:
            async with dispatcher.tasks() as tasks:
                tasks.add_task(look_async)
            await anyio.sleep(0.01)
            seen.append(current_call())

        async with dispatcher.tasks() as tasks:
            tasks.add_task(outer)
        await dispatcher.join()
    inner, after = cast("list[CurrentCall]", seen)
    assert (inner.task, after.task) == (f"{__name__}.look_async", f"{__name__}.{outer.__qualname__}")
    assert inner.id != after.id


# -- where no task runs -------------------------------------------------------------------------------------


def test_where_no_task_runs_there_is_no_current_call() -> None:
    with pytest.raises(NoCurrentCallError, match="no task runs here"):
        current_call()


def test_a_request_is_no_task() -> None:
    def add(tasks: BackgroundTasks) -> Ticket:
        with pytest.raises(NoCurrentCallError):
            current_call()
        return tasks.add_task(note, "added")

    with TestClient(service(None, add)) as client:
        assert client.post("/").status_code == 200


def test_a_thread_of_the_tasks_own_sees_the_call_in_a_copy_of_the_context() -> None:
    def bare() -> None:
        try:
            look()
        except NoCurrentCallError:
            seen.append(None)

    with running_as("here"):
        context = contextvars.copy_context()
        for target in (bare, lambda: context.run(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert [each and each.id for each in seen] == [None, "here"]


def test_a_test_can_say_which_call_a_function_is() -> None:
    with running_as("7", task="shop.pay", attempt=2, lane=Lane.QUEUE):
        look()
    assert seen == [CurrentCall(id="7", task="shop.pay", attempt=2, lane=Lane.QUEUE)]
    with pytest.raises(NoCurrentCallError):
        current_call()


# -- in the queue -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("func", [look, look_async])
def test_a_queued_call_knows_its_id_and_its_attempt(broker: MemoryBroker, func: Callable[[], Any]) -> None:
    declared = task(func, durable=True, name="look")
    tickets, add = tickets_of(lambda tasks: tasks.add_task(declared))
    Dispatcher(broker=broker).worker_broker()
    with TestClient(service(broker, add)) as client, broker.worker():
        client.post("/")
        client.post("/")
    assert {each.id for each in seen if each} == {ticket.id for ticket in tickets}
    assert {(each.task, each.attempt, each.lane) for each in seen if each} == {("look", 1, Lane.QUEUE)}


def fail_twice() -> None:
    seen.append(current_call())
    if len(seen) < 3:
        raise OSError("not yet")


def declared_here(broker: MemoryBroker) -> Dispatcher:
    """A dispatcher for the tasks declared so far, whose broker is a worker's."""
    dispatcher = Dispatcher(broker=broker)
    dispatcher.worker_broker()
    at_hand.append(dispatcher)
    return dispatcher


def test_a_retry_in_the_queue_is_the_next_attempt_of_the_same_call(broker: MemoryBroker) -> None:
    again = task(fail_twice, durable=True, retries=2, min_backoff_s=0.001, max_backoff_s=0.001, name="fail-twice")
    declared_here(broker)
    tickets, add = tickets_of(lambda tasks: tasks.add_task(again))
    with TestClient(service(broker, add)) as client, broker.worker():
        client.post("/")
    assert [(each.id, each.attempt) for each in seen if each] == [(tickets[0].id, number) for number in (1, 2, 3)]


def test_an_actor_of_the_users_own_is_no_task(broker: MemoryBroker) -> None:
    def plain() -> None:
        try:
            current_call()
        except NoCurrentCallError:
            note("no task")

    actor = dramatiq.actor(broker=broker, actor_name="plain")(plain)
    declared_here(broker)
    with broker.worker():
        actor.send()
    assert happened == ["no task"]


# -- adding tasks from inside a task ------------------------------------------------------------------------


def follow(step: int) -> None:
    happened.append(f"step {step} as {current_call().lane}")


def lead() -> None:
    with at_hand[0].tasks() as tasks:
        ticket = tasks.add_task(follow, 2)
    happened.append(f"{ticket.lane}: {ticket.reason}")


async def lead_async() -> None:
    async with at_hand[0].tasks() as tasks:
        ticket = tasks.add_task(follow, 2)
    happened.append(f"{ticket.lane}: {ticket.reason}")


@pytest.mark.parametrize("leader", [lead, lead_async])
def test_a_queued_task_adds_a_call_to_the_queue_however_light_it_is(
    broker: MemoryBroker, leader: Callable[[], Any]
) -> None:
    task(follow, weight=0, name="follow")
    first = task(leader, durable=True, name="lead")
    declared_here(broker)
    with TestClient(service(broker, lambda tasks: tasks.add_task(first))) as client:
        client.post("/")
    with broker.worker():  # the app is closed by now: a worker has none
        pass
    assert sorted(happened) == [
        "queue: was added by a queued task, and a worker has no in-process lane",
        "step 2 as queue",
    ]


def test_a_worker_in_the_process_of_an_open_addss_to_the_queue_too(broker: MemoryBroker) -> None:
    task(follow, weight=0, name="follow")
    first = task(lead_async, durable=True, name="lead")
    dispatcher = declared_here(broker)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> None:
        tasks.add_task(first)

    with TestClient(app) as client, broker.worker():
        client.post("/")
    assert "step 2 as queue" in happened


def stay_put() -> None:
    raise AssertionError("it must not run here")


def ask_in_vain() -> None:
    with at_hand[0].tasks() as tasks:
        for add in (tasks.add_task, tasks.options(lane="in_process").add_task):
            with pytest.raises(ConstraintError, match="a worker has no in-process lane"):
                add(stay_put)
        with pytest.raises(ConstraintError, match="drop that option here, or call the function itself"):
            tasks.options(lane="in_process").add_task(follow, 2)
    note("refused")


def test_what_must_stay_in_process_is_refused_in_a_worker(broker: MemoryBroker) -> None:
    task(follow, name="follow")
    task(stay_put, shares_memory=True, name="stay-put")
    first = task(ask_in_vain, durable=True, retries=0, name="ask-in-vain")
    declared_here(broker)
    with TestClient(service(broker, lambda tasks: tasks.add_task(first))) as client, broker.worker():
        client.post("/")
    assert happened == ["refused"]


def test_calls_of_a_task_that_raises_are_not_added(broker: MemoryBroker) -> None:
    def fail() -> None:
        with at_hand[0].tasks() as tasks:
            tasks.add_task(follow, 2)
            raise OSError("before the end")

    fail.__qualname__ = "fail"
    task(follow, name="follow")
    first = task(fail, durable=True, retries=0, name="fail")
    declared_here(broker)
    with TestClient(service(broker, lambda tasks: tasks.add_task(first))) as client:
        client.post("/")
    with pytest.raises(OSError, match="before the end"), broker.worker():  # this broker hands on what a task raises
        pass
    assert happened == []


async def test_a_task_in_process_adds_to_both_lanes_as_a_request_does(broker: MemoryBroker) -> None:
    durable = task(follow, durable=True, name="follow")

    def from_a_thread() -> None:
        with at_hand[0].tasks() as tasks:
            tasks.add_task(note, "sync")
            tasks.add_task(durable, 1)

    async def on_the_loop() -> None:
        async with at_hand[0].tasks() as tasks:
            tasks.add_task(note, "async")
            tasks.add_task(durable, 2)

    async with Dispatcher(broker=broker) as dispatcher:
        at_hand.append(dispatcher)
        async with dispatcher.tasks() as tasks:
            tasks.add_task(from_a_thread)
            tasks.add_task(on_the_loop)
        await dispatcher.join()
    assert sorted(happened) == ["async", "sync"]
    assert broker.queued == ["follow", "follow"]


async def test_a_request_is_answered_with_the_id_that_its_task_sees(broker: MemoryBroker) -> None:
    async def endpoint(request: Request) -> Response:
        async with BackgroundTasks() as tasks:
            ticket = tasks.add_task(look)
        return Response(ticket.id, background=tasks)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    response = await endpoint(Request(scope))
    await response(scope, receive, send)
    assert [each.id for each in seen if each] == [bytes(response.body).decode()]
