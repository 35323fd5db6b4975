"""The actor of a task: typed arguments at both ends, plain JSON between them, and what its broker must have."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, AsyncIO, Retries, TimeLimit
from dramatiq.results import Results
from dramatiq.results.backends import StubBackend
from pydantic import BaseModel

from weighbridge.declaration import task
from weighbridge.errors import ArgumentError, BrokerError, DuplicateTaskError, PayloadError
from weighbridge.lanes.queue import TypedActor, bind
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.task import TaskSpec, registry

RUNS: list[Any] = []


class Item(BaseModel):
    sku: str
    price: Decimal


@task(weight=200, name="actor.bill", retries=5, min_backoff_s=0.5, max_backoff_s=9, time_limit_s=2.5, priority=7)
def bill(order: UUID, at: datetime, item: Item, tags: set[str], *, within: timedelta = timedelta(0)) -> str:
    RUNS.append((order, at, item, tags, within))
    return "a receipt"


@task(name="actor.notify", queue="mail")
async def notify(order: UUID) -> None:
    RUNS.append(order)


@task(name="actor.fail", min_backoff_s=0.001, max_backoff_s=0.002)
def fail(kind: str) -> None:
    RUNS.append(kind)
    if kind == "argument":
        raise ArgumentError(task="another", argument="x", problem="is bad", remedy="do not")
    raise RuntimeError(kind)


@task(name="actor.odd")
def odd(self: str, cls: str, func: str, fn: str, args: str, kwargs: str, message: str, broker: str) -> None:
    RUNS.append(locals())


@task(name="actor.odd_async")
async def odd_async(self: str, name: str, delay: str, spec: str, options: str, queue_name: str, *, call: str) -> None:
    RUNS.append(locals())


@task(name="actor.any_keyword")
def any_keyword(**words: str) -> None:
    RUNS.append(words)


def spec_of(func: Any) -> TaskSpec:
    spec = registry.of(func)
    assert spec is not None
    return spec


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    RUNS.clear()
    broker = StubBroker(middleware=default_middleware(), fail_fast_default=False)
    yield broker
    broker.close()


@pytest.fixture
def worker(broker: StubBroker) -> Iterator[dramatiq.Worker]:
    """Dramatiq's own worker; its actors are to be bound before it starts, as in a real worker."""
    for func in (bill, notify, fail, odd, odd_async, any_keyword):
        bind(broker, spec_of(func))
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=2)
    worker.start()
    yield worker
    worker.stop()


ARGUMENTS = (
    uuid4(),
    datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    Item(sku="a", price=Decimal("1.10")),
    {"x", "y"},
)


def test_an_actor_has_what_its_task_declares(broker: StubBroker) -> None:
    actor = bind(broker, spec_of(bill))
    assert (actor.actor_name, actor.queue_name, actor.priority) == ("actor.bill", "heavy", 7)
    assert actor.options["max_retries"] == 5
    assert actor.options["min_backoff"] == 500
    assert actor.options["max_backoff"] == 9_000
    assert actor.options["time_limit"] == 2_500


def test_undeclared_retries_are_three_in_the_queue(broker: StubBroker) -> None:
    actor = bind(broker, spec_of(notify))
    assert actor.options["max_retries"] == 3
    assert "time_limit" not in actor.options


def test_binding_again_changes_nothing(broker: StubBroker) -> None:
    assert bind(broker, spec_of(bill)) is bind(broker, spec_of(bill))


def test_a_task_that_was_declared_anew_replaces_its_actor(broker: StubBroker) -> None:
    old = bind(broker, spec_of(bill))
    new = bind(broker, replace(spec_of(bill), retries=1))
    assert new is not old
    assert broker.get_actor("actor.bill") is new
    assert new.options["max_retries"] == 1


def test_an_actor_of_the_users_own_keeps_its_name(broker: StubBroker) -> None:
    @dramatiq.actor(broker=broker, actor_name="actor.bill")
    def own() -> None: ...

    with pytest.raises(DuplicateTaskError, match=r"declared twice: by the actor .*own"):
        bind(broker, spec_of(bill))
    assert broker.get_actor("actor.bill") is own


def test_values_are_plain_json_on_the_wire(broker: StubBroker) -> None:
    message = bind(broker, spec_of(bill)).message(*ARGUMENTS, within=timedelta(seconds=5))
    fields = json.loads(message.encode())
    assert fields["args"][0] == str(ARGUMENTS[0])
    assert fields["args"][2] == {"sku": "a", "price": "1.10"}
    assert fields["kwargs"] == {"within": "PT5S"}


def test_the_function_gets_the_values_that_were_sent(broker: StubBroker, worker: dramatiq.Worker) -> None:
    actor = broker.get_actor("actor.bill")
    actor.send(*ARGUMENTS, within=timedelta(seconds=5))
    broker.join("heavy", timeout=10_000)
    assert [(*ARGUMENTS, timedelta(seconds=5))] == RUNS


def test_an_async_function_runs_too(broker: StubBroker, worker: dramatiq.Worker) -> None:
    order = uuid4()
    broker.get_actor("actor.notify").send(order)
    broker.join("mail", timeout=10_000)
    assert [order] == RUNS


@pytest.mark.parametrize("func", [odd, odd_async])
def test_a_parameter_may_have_any_name(broker: StubBroker, worker: dramatiq.Worker, func: Any) -> None:
    words = {word: word for word in inspect.signature(func).parameters}
    broker.get_actor(spec_of(func).name).send(**words)
    broker.join("default", timeout=10_000)
    assert [words] == RUNS


def test_a_keyword_that_no_parameter_names_may_be_any_too(broker: StubBroker, worker: dramatiq.Worker) -> None:
    broker.get_actor("actor.any_keyword").send(self="a", args="b")
    broker.join("default", timeout=10_000)
    assert RUNS == [{"self": "a", "args": "b"}]


def test_a_value_that_does_not_survive_is_refused_where_it_is_sent(broker: StubBroker) -> None:
    actor = bind(broker, spec_of(notify))
    with pytest.raises(ArgumentError, match=r"actor\.notify.*'order'"):
        actor.send("not a UUID")


def test_a_payload_that_does_not_fit_is_a_dead_letter_at_once(broker: StubBroker, worker: dramatiq.Worker) -> None:
    broker.enqueue(
        dramatiq.Message(queue_name="mail", actor_name="actor.notify", args=("not a UUID",), kwargs={}, options={})
    )
    broker.join("mail", timeout=10_000)
    [letter] = broker.dead_letters
    assert "retries" not in letter.options
    assert isinstance(letter._exception, PayloadError)
    assert str(letter._exception).startswith("task 'actor.notify' cannot run: argument 'order' of its message")
    assert "not a UUID" not in str(letter._exception)
    assert RUNS == []


@pytest.mark.parametrize("kind", ["argument", "other"])
def test_whatever_the_function_itself_raises_is_retried(broker: StubBroker, worker: dramatiq.Worker, kind: str) -> None:
    broker.get_actor("actor.fail").send(kind)
    broker.join("default", timeout=10_000)
    assert [kind] * 4 == RUNS
    assert len(broker.dead_letters) == 1


def test_a_return_value_that_nobody_reads_is_dropped(broker: StubBroker) -> None:
    actor = bind(broker, spec_of(bill))
    args, kwargs = actor.spec.codec.encode(ARGUMENTS, {})
    assert actor(*args, **kwargs) is None


def test_a_return_value_reaches_dramatiqs_results() -> None:
    results = Results(backend=StubBackend())  # type: ignore[no-untyped-call]  # Dramatiq's
    broker = StubBroker(middleware=[*default_middleware(), results])
    actor = bind(broker, spec_of(bill))
    args, kwargs = actor.spec.codec.encode(ARGUMENTS, {})
    assert actor(*args, **kwargs) == "a receipt"


def test_the_functions_signature_stays_visible(broker: StubBroker) -> None:
    assert bind(broker, spec_of(bill)).fn.__wrapped__ is bill  # type: ignore[attr-defined]  # functools.wraps sets it


@pytest.mark.parametrize(
    ("middleware", "func", "missing"),
    [
        ([AgeLimit(), TimeLimit(), AsyncIO()], bill, "Retries"),
        ([Retries(), AsyncIO()], bill, "TimeLimit"),
        ([Retries(), TimeLimit()], notify, "AsyncIO"),
    ],
)
def test_a_broker_without_what_the_task_needs_is_refused(
    middleware: list[dramatiq.Middleware], func: Any, missing: str
) -> None:
    broker = StubBroker(middleware=middleware)
    with pytest.raises(BrokerError, match=rf"no {missing} middleware.*add it: .*middleware\.{missing}\(\)"):
        bind(broker, spec_of(func))
    assert broker.get_declared_actors() == set()


def test_a_broker_of_the_users_own_may_do_without_what_no_task_needs() -> None:
    broker = StubBroker(middleware=[Retries()])
    assert isinstance(bind(broker, spec_of(fail)), TypedActor)
