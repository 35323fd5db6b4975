"""Every call goes down one of two lanes, and its ticket says which and why."""

from __future__ import annotations

import threading
from functools import partial
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from weighbridge import BackgroundTasks, Dispatcher, Lane, Ticket, Weight, task

from .broker import MemoryBroker
from .happenings import happened, note
from .service import service


def test_add_task_answers_with_a_ticket(broker: MemoryBroker) -> None:
    @task(weight=Weight.LIGHT)
    def audit(line: str) -> None:
        note(line)

    dispatcher = Dispatcher(broker=broker, wait_in_process=True)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks) -> dict[str, object]:
        ticket = tasks.add_task(audit, "somebody was here")
        return {"task": ticket.id, "lane": ticket.lane, "reason": ticket.reason, "weight": ticket.weight}

    with TestClient(app) as client:
        answer = client.post("/").json()

    assert str(UUID(answer["task"])) == answer["task"]
    assert answer["lane"] == "in_process"
    assert "by-weight" in answer["reason"]
    assert answer["weight"] == 1.0
    assert happened == ["somebody was here"]


def test_heavy_work_goes_to_the_queue_and_a_worker_runs_it(broker: MemoryBroker) -> None:
    @task(weight=Weight.HEAVY)
    def render(pages: int) -> None:
        note(f"{pages} pages rendered")

    with TestClient(service(broker, lambda tasks: tasks.add_task(render, 7))) as client:
        assert client.post("/").json() == "queue"
        assert broker.queued == ["render"]
        assert happened == []

        with broker.worker():
            pass
        assert happened == ["7 pages rendered"]


def test_heavy_work_has_a_queue_of_its_own(broker: MemoryBroker) -> None:
    @task(weight=Weight.HEAVY)
    def render() -> None: ...

    @task(durable=True)
    def charge() -> None: ...

    @task(weight=Weight.HEAVY, queue="gpu")
    def train() -> None: ...

    def add_all(tasks: BackgroundTasks) -> Ticket:
        tasks.add_task(render)
        tasks.add_task(charge)
        return tasks.add_task(train)

    with TestClient(service(broker, add_all)) as client:
        client.post("/")

    assert [len(broker.messages(queue)) for queue in ("heavy", "default", "gpu")] == [1, 1, 1]


def test_an_async_task_is_queued_too_and_runs_there(broker: MemoryBroker) -> None:
    @task(durable=True)
    async def charge(order: UUID) -> None:
        note(f"charged {order} of type {type(order).__name__}")

    with TestClient(service(broker, lambda tasks: tasks.add_task(charge, UUID(int=7)))) as client:
        client.post("/")
        with broker.worker():
            pass

    assert happened == [f"charged {UUID(int=7)} of type UUID"]


def test_a_durable_task_is_queued_however_light_it_is(broker: MemoryBroker) -> None:
    @task(durable=True, weight=0)
    def charge() -> None: ...

    with TestClient(service(broker, lambda tasks: tasks.add_task(charge))) as client:
        assert client.post("/").json() == "queue"

    assert broker.queued == ["charge"]


def test_a_task_that_shares_memory_stays_however_heavy_it_is(broker: MemoryBroker) -> None:
    cache: dict[str, int] = {}

    @task(shares_memory=True, weight=Weight.HEAVY)
    def warm(key: str) -> None:
        cache[key] = 1

    with TestClient(service(broker, lambda tasks: tasks.add_task(warm, "page"), policy="all-queued")) as client:
        assert client.post("/").json() == "in_process"

    assert cache == {"page": 1}
    assert broker.queued == []


def test_an_undecorated_function_stays_whatever_the_policy_says(broker: MemoryBroker) -> None:
    def plain() -> None:
        note("plain")

    with TestClient(service(broker, lambda tasks: tasks.add_task(plain), policy="all-queued")) as client:
        assert client.post("/").json() == "in_process"

    assert happened == ["plain"]


def test_what_no_worker_could_find_stays_and_says_why(broker: MemoryBroker) -> None:
    number = 7

    @task
    def closure() -> None:
        note(str(number))

    @task
    def declared(number: int) -> None:
        note(str(number))

    dispatcher = Dispatcher(broker=broker, policy="all-queued")

    assert dispatcher.explain(declared, 1).lane is Lane.QUEUE
    for stays, why in (
        (closure, "closes over number"),
        (lambda: None, "is a lambda"),
        (partial(declared, 1), "is a partial"),
        (happened.append, "is a builtin_function_or_method object"),
    ):
        decision = dispatcher.explain(stays)  # type: ignore[arg-type]  # each takes other arguments
        assert decision.lane is Lane.IN_PROCESS
        assert why in decision.reason


def test_the_weight_may_depend_on_the_arguments(broker: MemoryBroker) -> None:
    @task(weight=lambda rows: 0.5 * len(rows))
    def load(rows: list[int]) -> None: ...

    dispatcher = Dispatcher(broker=broker)

    assert dispatcher.explain(load, [1, 2, 3]).lane is Lane.IN_PROCESS
    assert dispatcher.explain(load, list(range(1_000))).lane is Lane.QUEUE


def test_a_declared_function_is_still_the_function(broker: MemoryBroker) -> None:
    def double(number: int) -> int:
        return 2 * number

    assert task(weight=Weight.HEAVY)(double) is double
    assert double(4) == 8


def test_a_sync_task_runs_on_a_thread_of_the_lane_and_an_async_one_on_the_loop() -> None:
    ran_on: dict[str, str] = {}

    def sync_task() -> None:
        ran_on["sync"] = threading.current_thread().name

    async def async_task() -> None:
        ran_on["async"] = threading.current_thread().name

    def add_both(tasks: BackgroundTasks) -> Ticket:
        ran_on["loop"] = threading.current_thread().name
        tasks.add_task(sync_task)
        return tasks.add_task(async_task)

    with TestClient(service(None, add_both)) as client:
        client.post("/")

    assert ran_on["async"] == ran_on["loop"] != ran_on["sync"]


def test_explain_decides_without_adding_anything(broker: MemoryBroker) -> None:
    @task(weight=Weight.HEAVY)
    def render(pages: int) -> None: ...

    dispatcher = Dispatcher(broker=broker)
    decision = dispatcher.explain(render, 7)

    assert (decision.lane, decision.rule) == (Lane.QUEUE, "heavy work is queued")
    assert "heavy work is queued" in decision.reason
    assert broker.queued == []


@pytest.mark.parametrize("policy", ["by-weight", "all-in-process", "all-queued"])
def test_no_policy_overrides_a_constraint(policy: str, broker: MemoryBroker) -> None:
    @task(durable=True)
    def charge() -> None: ...

    @task(shares_memory=True)
    def warm() -> None: ...

    dispatcher = Dispatcher(broker=broker, policy=policy)

    assert (dispatcher.explain(charge).lane, dispatcher.explain(charge).rule) == (Lane.QUEUE, "durable")
    assert (dispatcher.explain(warm).lane, dispatcher.explain(warm).rule) == (Lane.IN_PROCESS, "shares_memory")
