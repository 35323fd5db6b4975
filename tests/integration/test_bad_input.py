"""Each mistake that the project's first issue lists: a clear error at the earliest moment, and nothing half done."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from weighbridge import BackgroundTasks, Decision, Dispatcher, Facts, Lane, task
from weighbridge.errors import (
    ArgumentError,
    BrokerError,
    BrokerNotConfiguredError,
    ConstraintError,
    DeclarationError,
    DispatcherError,
    DuplicateTaskError,
    EnqueueError,
    NotOpenError,
    OptionError,
    PolicyError,
    PolicyNotFoundError,
    WeighbridgeError,
)
from weighbridge.task import registry

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def forget_tasks_of_tests() -> Iterator[None]:
    """Each test sees only the tasks that it declares."""
    before = list(registry)
    for spec in before:
        registry.discard(spec.name)
    yield
    for spec in registry:
        registry.discard(spec.name)
    for spec in before:
        registry.add(spec)


@pytest.fixture
def nobody_listens() -> str:
    """An address where no broker is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://:hunter2@127.0.0.1:{probe.getsockname()[1]}/0"


#: What a task of this module did; a closure could not be queued in the first place.
RAN: list[int] = []


class Session:
    """Stands for a database session."""


def messages(broker: StubBroker, queue: str) -> int:
    return broker.queues[queue].qsize() if queue in broker.queues else 0


# -- what cannot be queued, asked to be queued --------------------------------------------------------------


def plain(number: int) -> None: ...


class Mailer:
    def send(self, number: int) -> None: ...


def closure() -> Any:
    captured = object()

    def inner(number: int) -> None:
        print(captured)

    return inner


@pytest.mark.parametrize(
    ("func", "why"),
    [
        (lambda number: None, "is a lambda"),
        (closure(), "closes over captured"),
        (Mailer().send, "is a bound method"),
        (partial(plain, 1), "is a partial"),
        (plain, "is not declared with @task"),
    ],
)
async def test_what_has_no_name_in_a_worker_cannot_be_asked_into_the_queue(func: Any, why: str) -> None:
    broker = StubBroker()
    async with Dispatcher(broker=broker) as dispatcher:
        with pytest.raises(ConstraintError, match=rf"cannot be queued \(options\(lane='queue'\)\): it {why}"):
            async with dispatcher.tasks() as tasks:
                tasks.options(lane="queue").add_task(func, 1)

    assert broker.queues == {}


async def test_a_task_that_shares_memory_cannot_be_delayed() -> None:
    @task(shares_memory=True)
    def warm() -> None: ...

    async with Dispatcher(broker=StubBroker()) as dispatcher:
        with pytest.raises(
            ConstraintError, match=r"cannot be queued \(options\(delay_s=…\)\): it is declared shares_memory"
        ):
            async with dispatcher.tasks() as tasks:
                tasks.options(delay_s=5).add_task(warm)


async def test_a_durable_task_cannot_be_asked_to_stay() -> None:
    @task(durable=True)
    def charge() -> None: ...

    async with Dispatcher(broker=StubBroker()) as dispatcher:
        with pytest.raises(
            ConstraintError, match=r"cannot run in process \(options\(lane='in_process'\)\): it is declared durable"
        ):
            async with dispatcher.tasks() as tasks:
                tasks.options(lane="in_process").add_task(charge)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": math.nan}, r"was given weight=nan; give a finite number ≥ 0"),
        ({"weight": 10**400}, r"was given weight=10{400}; give a finite number ≥ 0, at most 1e12"),
        ({"lane": "qeue"}, r"was given lane='qeue'; give one of 'in_process', 'queue'"),
        ({"delay_s": -1}, r"was given delay_s=-1; give a finite number of seconds > 0"),
        ({"expires_s": 0}, r"was given expires_s=0"),
        ({"delay_s": 5, "lane": "in_process"}, r"was given delay_s=5 with lane='in_process'"),
    ],
)
def test_an_option_of_a_call_that_cannot_be_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BackgroundTasks().options(**options)


async def test_an_option_that_the_broker_cannot_obey_raises_in_the_request_and_leaves_the_other_calls_alone() -> None:
    @task(weight=100)
    def render() -> None: ...

    broker = StubBroker(middleware=[Retries()])
    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:
        tasks.add_task(render)
        with pytest.raises(OptionError, match=r"expires_s=5.* no AgeLimit.*add it"):
            tasks.options(expires_s=5).add_task(render)

    assert messages(broker, "heavy") == 1


async def test_a_task_declared_after_the_start_that_the_broker_cannot_obey_raises_in_the_request() -> None:
    broker = StubBroker(middleware=[Retries()])
    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:

        @task(durable=True, time_limit_s=5)
        def limited() -> None: ...

        @task(durable=True, name="tests.taken")
        def taken() -> None: ...

        dramatiq.actor(broker=broker, actor_name="tests.taken")(plain)
        with pytest.raises(BrokerError, match="has no TimeLimit middleware"):
            tasks.add_task(limited)
        with pytest.raises(DuplicateTaskError, match="declared twice: by the actor"):
            tasks.add_task(taken)

    assert messages(broker, "default") == 0


# -- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Session, Request])
async def test_a_task_with_a_parameter_that_cannot_cross_stays_and_says_why(kind: type) -> None:
    def uses(thing: Any) -> None: ...

    uses.__annotations__["thing"] = kind
    task(weight=1)(uses)

    async with Dispatcher(broker=StubBroker(), policy="all-queued") as dispatcher:
        decision = dispatcher.explain(uses, None)
        with pytest.raises(ConstraintError, match=f"parameter 'thing' of type .*{kind.__name__}"):
            async with dispatcher.tasks() as tasks:
                tasks.options(lane="queue").add_task(uses, None)

    assert decision.lane is Lane.IN_PROCESS
    assert "'thing'" in decision.reason


async def test_an_argument_of_the_wrong_type_raises_in_the_request_and_leaves_the_other_calls_alone() -> None:
    @task(weight=100, name="tests.render")
    def render(report: int) -> None: ...

    broker = StubBroker()
    async with Dispatcher(broker=broker) as dispatcher, dispatcher.tasks() as tasks:
        tasks.add_task(render, 1)
        with pytest.raises(ArgumentError, match=r"task 'tests.render' cannot be queued: argument 'report'") as caught:
            tasks.add_task(render, "1")  # type: ignore[arg-type]  # the mistake is the point
        tasks.add_task(render, 2)

    assert caught.value.argument == "report"
    assert messages(broker, "heavy") == 2


# -- policies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"policy.toml"),
        ("this is not TOML", r"policy.toml"),
        ('schema = 1\n[otherwise]\nlan = "queue"\n', r"lan\b.*lane|did you mean"),
        ('schema = 1\n[otherwise]\nlane = "qeue"\n', r"qeue"),
        (
            'schema = 1\n[[rule]]\nname = "a"\nwhen = "weigth > 3"\nlane = "queue"\n[otherwise]\nlane = "queue"\n',
            r"weight",
        ),
    ],
)
def test_a_wrong_policy_file_is_refused_when_the_dispatcher_is_made(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)

    with pytest.raises(PolicyError, match=message) as caught:
        Dispatcher(policy=path)

    assert "policy.toml" in str(caught.value)


@pytest.mark.parametrize("reference", ["by-wieght", "no_such_module:policy", "math:policy", "missing/policy.toml"])
def test_a_policy_that_is_not_there_is_named(reference: str) -> None:
    with pytest.raises(PolicyNotFoundError) as caught:
        Dispatcher(policy=reference)

    assert reference.split(":", maxsplit=1)[0].split("/", maxsplit=1)[0] in str(caught.value)


class Failing:
    """A policy in code that answers when it is tried at load, and fails for a task of the app."""

    def __init__(self, failure: Any) -> None:
        self.failure = failure

    def decide(self, facts: Facts, /) -> Decision:
        if facts.name != "tests.some":
            return Decision(lane=Lane.QUEUE, reason="tried at load", rule="trial")
        if isinstance(self.failure, Exception):
            raise self.failure
        answer: Decision = self.failure
        return answer


@pytest.mark.parametrize("failure", [None, "queue", ZeroDivisionError("no")])
async def test_a_policy_in_code_that_fails_raises_in_the_request_and_nothing_is_kept(failure: Any) -> None:
    @task(name="tests.some")
    def some() -> None: ...

    broker = StubBroker()
    async with Dispatcher(broker=broker, policy=Failing(failure)) as dispatcher:
        with pytest.raises(PolicyError, match="Failing"):
            async with dispatcher.tasks() as tasks:
                tasks.add_task(some)

    assert messages(broker, "default") == 0


def test_a_policy_in_code_that_never_answers_is_refused_when_the_dispatcher_is_made() -> None:
    class Silent:
        def decide(self, facts: Facts, /) -> None: ...

    with pytest.raises(PolicyError, match="answered None"):
        Dispatcher(policy=Silent())  # type: ignore[arg-type]  # the mistake is the point


async def test_a_policy_that_cannot_be_used_does_not_replace_the_one_that_works(tmp_path: Path) -> None:
    async with Dispatcher() as dispatcher:
        with pytest.raises(PolicyError):
            dispatcher.policy = tmp_path / "missing.toml"

        assert "by-weight" in repr(dispatcher.policy)


# -- brokers ------------------------------------------------------------------------------------------------


async def test_a_task_that_could_be_queued_needs_a_broker_at_start() -> None:
    @task(weight=100, name="tests.render")
    def render() -> None: ...

    with pytest.raises(
        BrokerNotConfiguredError, match=r"task 'tests.render' could be queued, and no broker is configured"
    ):
        async with Dispatcher():
            pass


async def test_a_service_whose_tasks_can_only_stay_needs_no_broker() -> None:
    @task(weight=1)
    def light() -> None: ...

    @task(weight=500, shares_memory=True)
    def warm() -> None: ...

    async with Dispatcher() as dispatcher:
        assert dispatcher.explain(light).lane is Lane.IN_PROCESS


async def test_a_policy_that_could_queue_a_task_is_refused_while_there_is_no_broker() -> None:
    @task(weight=1)
    def light() -> None: ...

    async with Dispatcher() as dispatcher:
        with pytest.raises(BrokerNotConfiguredError, match="light"):
            dispatcher.policy = "all-queued"

        assert dispatcher.explain(light).lane is Lane.IN_PROCESS


async def test_a_task_declared_after_the_start_cannot_slip_into_the_wrong_lane_for_want_of_a_broker() -> None:
    async with Dispatcher() as dispatcher:

        @task(durable=True)
        def charge() -> None: ...

        with pytest.raises(BrokerNotConfiguredError, match="must be queued"):
            async with dispatcher.tasks() as tasks:
                tasks.add_task(charge)


def test_an_unreachable_broker_is_logged_at_start_and_only_queued_calls_are_refused(
    nobody_listens: str, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    @task(weight=100)
    def heavy() -> None: ...

    def light() -> None:
        ran.append("light")

    dispatcher = Dispatcher(broker_url=nobody_listens, wait_in_process=True)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/light")
    def only_light(tasks: BackgroundTasks) -> None:
        tasks.add_task(light)

    @app.post("/both")
    def both(tasks: BackgroundTasks) -> None:
        tasks.add_task(light)
        tasks.add_task(heavy)

    with caplog.at_level(logging.ERROR), TestClient(app) as client:
        assert client.post("/light").status_code == 200
        refused = client.post("/both")

    assert ran == ["light"]  # none of the refused request's
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["weighbridge-enqueued"] == "no"
    assert refused.json()["detail"].endswith("nothing of it was enqueued, so a retry is safe")
    assert "WEIGHBRIDGE_BROKER_URL" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_silent_broker_answers_503_unknown_within_the_timeout(caplog: pytest.LogCaptureFixture) -> None:
    @task(weight=100)
    def heavy() -> None: ...

    with socket.socket() as silent:  # accepts connections, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        dispatcher = Dispatcher(broker_url=url, enqueue_timeout_s=0.3)
        app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

        @app.post("/")
        async def create(tasks: BackgroundTasks) -> None:
            tasks.add_task(heavy)

        with TestClient(app) as client:
            refused = client.post("/")

    assert refused.status_code == 503
    assert refused.headers["weighbridge-enqueued"] in {"no", "unknown"}


def test_a_call_that_may_run_here_does_so_when_the_broker_certainly_has_it_not(nobody_listens: str) -> None:

    @task(weight=100, on_unavailable="run_here")
    def render(number: int) -> None:
        RAN.append(number)

    dispatcher = Dispatcher(broker_url=nobody_listens, wait_in_process=True)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def create(tasks: BackgroundTasks) -> str:
        return tasks.add_task(render, 3).lane

    with TestClient(app) as client:
        response = client.post("/")

    # Whether the broker was known to be away when it was added, or only at its commit.
    assert (response.status_code, response.json() in {"in_process", "queue"}, RAN) == (200, True, [3])


@pytest.mark.parametrize(("gives_up", "status"), [(False, 503), (True, 200)])
def test_an_early_commit_that_failed_is_not_answered_with_success_unless_it_is_given_up(
    nobody_listens: str, gives_up: bool, status: int
) -> None:
    @task(weight=100)
    def heavy() -> None: ...

    dispatcher = Dispatcher(broker_url=nobody_listens)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def create(tasks: BackgroundTasks) -> None:
        tasks.add_task(heavy)
        with pytest.raises(EnqueueError):
            await tasks.commit()
        if gives_up:
            tasks.discard()

    with TestClient(app) as client:
        assert client.post("/").status_code == status


class LosesReplies(StubBroker):
    """Takes the first message, and its answer never arrives; then it refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        if self.taken:
            raise ConnectionRefusedError
        self.taken.append(message.actor_name)
        raise TimeoutError


async def test_after_a_lost_answer_a_call_never_runs_here_beside_its_message() -> None:
    RAN.clear()

    @task(weight=100, on_unavailable="run_here", name="tests.render")
    def render() -> None:
        RAN.append(1)

    broker = LosesReplies()
    async with Dispatcher(broker=broker) as dispatcher:
        tasks = BackgroundTasks(dispatcher=dispatcher)
        tasks.add_task(render)
        for _ in range(2):
            with pytest.raises(EnqueueError) as caught:
                await tasks.commit()
            assert caught.value.unknown
        await dispatcher.join()

    assert (broker.taken, RAN) == (["tests.render"], [])


# -- tasks and dispatchers ----------------------------------------------------------------------------------


def test_a_task_of_main_cannot_be_queued() -> None:
    def script() -> None: ...

    script.__module__ = "__main__"
    with pytest.raises(DeclarationError, match=r"is durable, so it must be queued, and it is declared in __main__"):
        task(durable=True)(script)


def test_without_a_dispatcher_a_call_that_must_be_queued_raises_and_others_run_as_in_starlette() -> None:
    ran: list[str] = []

    @task(durable=True)
    def charge() -> None: ...

    def light() -> None:
        ran.append("light")

    app = FastAPI()

    @app.post("/")
    async def create(tasks: BackgroundTasks) -> str:
        tasks.add_task(light)
        with pytest.raises(NotOpenError, match=r"must be queued .*, and no dispatcher is open"):
            tasks.add_task(charge)
        return "done"

    assert TestClient(app).post("/").status_code == 200
    assert ran == ["light"]


async def test_a_dispatcher_is_opened_once_at_a_time() -> None:
    dispatcher = Dispatcher()
    async with dispatcher:
        with pytest.raises(DispatcherError, match="open already"):
            await dispatcher.__aenter__()

    with pytest.raises(NotOpenError):
        dispatcher.tasks()
    with pytest.raises(NotOpenError):
        await dispatcher.join()


async def test_a_blocking_context_is_refused_on_the_event_loop() -> None:
    async with Dispatcher() as dispatcher:
        with pytest.raises(DispatcherError, match="would block the event loop"), dispatcher.tasks():
            pass


def test_every_error_is_under_the_one_root_and_survives_pickling() -> None:
    import pickle

    from weighbridge import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, WeighbridgeError) for kind in kinds)

    original = errors.EnqueueError(problem="gone", tasks=["a", "b"], unknown=True, retry_after_s=2)
    copy = pickle.loads(pickle.dumps(original))
    assert (str(copy), copy.tasks, copy.unknown) == (str(original), ("a", "b"), True)
