"""The contract with FastAPI by which a request comes to its commit point.

One module knows the names of FastAPI's exit stacks (``weighbridge.background.injection``). Each test here runs on them
and on the public fallback, so both must behave alike, and a FastAPI that changes its stacks fails here first.
"""

# ruff: noqa: B008  # dependencies that are made for one test can only be defaults: no annotation can name them

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import anyio.to_thread
import dramatiq
import pytest
from dramatiq.middleware import MiddlewareError
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response, WebSocket
from fastapi.exceptions import FastAPIError, ResponseValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import EventSourceResponse
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from tests.fundamentals.broker import MemoryBroker

import weighbridge
from weighbridge import Dispatcher, task
from weighbridge.background.facade import BackgroundTasks
from weighbridge.background.injection import FACADE, STATE, keeps_exit_stacks, provider_of
from weighbridge.errors import CommittedError, DispatcherError, EnqueueError
from weighbridge.task import registry

pytestmark = pytest.mark.anyio

#: What happened, in order. A queued function cannot close over a list of its test.
events: list[str] = []


def note(event: str) -> None:
    events.append(event)


async def note_async(event: str) -> None:
    events.append(event)


class NotingBroker(MemoryBroker):
    """Says when it was given a message; may be made to wait or to fail first."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self.error: Exception = dramatiq.errors.ConnectionFailed("gone")  # type: ignore[no-untyped-call]  # not typed
        self.let_in = threading.Event()
        self.let_in.set()

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        assert self.let_in.wait(10)
        if self.failing:
            raise self.error
        note("enqueue")
        return super().enqueue(message, delay=delay)


class Way:
    """One of the two ways to the commit point: a parameter's default, and an app's gate."""

    def __init__(self, *, on_exit_stacks: bool) -> None:
        self._on_exit_stacks = on_exit_stacks
        self.tasks: Any = Depends(provider_of(None, on_exit_stacks=on_exit_stacks))

    def gate(self, dispatcher: Dispatcher) -> Any:
        return Depends(provider_of(dispatcher, on_exit_stacks=self._on_exit_stacks))

    def app(self, dispatcher: Dispatcher, *, gated: bool) -> FastAPI:
        return FastAPI(dependencies=[self.gate(dispatcher)] if gated else [])


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["exit stacks", "generators"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(on_exit_stacks=request.param)


@pytest.fixture(params=[True, False], ids=["gated", "ungated"])
def gated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(autouse=True)
def nothing_of_other_tests() -> Iterator[None]:
    before = list(registry)
    for spec in before:
        registry.discard(spec.name)
    events.clear()
    yield
    for spec in registry:
        registry.discard(spec.name)
    for spec in before:
        registry.add(spec)


@pytest.fixture
def broker() -> Iterator[NotingBroker]:
    broker = NotingBroker()
    yield broker
    broker.let_in.set()
    broker.close()


@pytest.fixture
def charge(nothing_of_other_tests: None) -> Callable[[int], None]:
    @task(durable=True, name="charge")
    def charge(order: int) -> None: ...

    return charge


@asynccontextmanager
async def opened(broker: dramatiq.Broker | None, **settings: Any) -> AsyncIterator[Dispatcher]:
    """An open dispatcher; at the end nothing waits or runs in process."""
    async with Dispatcher(broker=broker, **{"enqueue_timeout_s": 5, **settings}) as dispatcher:
        yield dispatcher
        await dispatcher.join()


# -- a server, as small as it gets --------------------------------------------------------------------------


async def serve(app: ASGIApp, path: str = "/", *, fails_at: str = "", scope: Scope | None = None) -> int:
    """Serve one request, and note what is sent when; the status that was sent, or 0.

    ``fails_at``: the kind of message at which the connection turns out to be closed.
    """
    status = 0

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == fails_at:
            raise OSError("the client went away")
        if message["type"] == "http.response.start":
            status = message["status"]
            note(f"first byte of a {status}")

    await app(http_scope(path) if scope is None else scope, receive, send)
    return status


def http_scope(path: str = "/") -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [],
        "query_string": b"",
        "asgi": {"spec_version": "2.4"},
    }


async def connect(app: ASGIApp) -> None:
    """Serve one websocket whose client says nothing."""

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        note(message["type"])

    await app({"type": "websocket", "path": "/", "headers": [], "query_string": b""}, receive, send)


def session(name: str, *, swallows: bool = False) -> Callable[[], AsyncIterator[None]]:
    """A dependency as of a database: it commits, or rolls back and passes the failure on (or swallows it)."""

    async def dependency() -> AsyncIterator[None]:
        try:
            yield
        except Exception:
            note(f"{name} rolls back")
            if not swallows:
                raise
        else:
            note(f"{name} commits")

    return dependency


# -- the names ----------------------------------------------------------------------------------------------


async def test_the_installed_fastapi_keeps_its_exit_stacks_where_we_look() -> None:
    assert keeps_exit_stacks()


async def test_the_public_annotation_and_the_gate_take_the_exit_stacks() -> None:
    seen: list[object] = []
    dispatcher = Dispatcher()
    app = FastAPI(dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: weighbridge.BackgroundTasks) -> None:
        seen.append(tasks)

    scope = http_scope()
    async with dispatcher:
        assert await serve(app, scope=scope) == 200

    assert scope[FACADE].stack is not None
    assert seen == [scope[FACADE].facade]


# -- the commit point ---------------------------------------------------------------------------------------


async def test_a_real_broker_has_the_calls_before_the_first_byte(
    way: Way, gated: bool, redis_url: str, charge: Any, tmp_path: Any
) -> None:
    waiting: list[int] = []

    async with opened(None, broker_url=redis_url, namespace=tmp_path.name.replace("[", ".")[:60]) as dispatcher:
        app = way.app(dispatcher, gated=gated)
        broker: Any = dispatcher.worker_broker()

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            for number in range(3):
                tasks.add_task(charge, number)
            waiting.append(await anyio.to_thread.run_sync(broker.waiting, "default"))

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            async def counting(message: Message) -> None:
                waiting.append(await anyio.to_thread.run_sync(broker.waiting, "default"))
                await send(message)

            await app(scope, receive, counting)

        assert await serve(watched) == 200
        await anyio.to_thread.run_sync(broker.close)

    assert waiting == [0, 3, 3]


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_the_order_around_a_request(
    way: Way, gated: bool, is_async: bool, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker, wait_in_process=True) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        def add(tasks: BackgroundTasks) -> None:
            tasks.add_task(note, "call")
            tasks.add_task(charge, 1)
            note("endpoint")

        async def add_async(
            of_function: Any = Depends(session("function session"), scope="function"),
            of_request: Any = Depends(session("request session")),
            tasks: BackgroundTasks = way.tasks,
        ) -> None:
            add(tasks)

        def add_sync(
            of_function: Any = Depends(session("function session"), scope="function"),
            of_request: Any = Depends(session("request session")),
            tasks: BackgroundTasks = way.tasks,
        ) -> None:
            add(tasks)

        app.post("/")(add_async if is_async else add_sync)
        assert await serve(app) == 200

    # The gate is entered first, so it commits last; without it, what the endpoint asks for last commits first.
    units = ["function session commits", "enqueue"] if gated else ["enqueue", "function session commits"]
    assert events == ["endpoint", *units, "first byte of a 200", "call", "request session commits"]


@pytest.mark.parametrize("failure", ["HTTPException", "unexpected", "invalid response", "invalid request"])
async def test_a_request_that_fails_enqueues_and_runs_nothing(
    way: Way, gated: bool, failure: str, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        async def of_dependency(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")

        @app.post("/{number}", dependencies=[Depends(of_dependency)], response_model=int)
        async def endpoint(number: int, tasks: BackgroundTasks = way.tasks) -> Any:
            tasks.add_task(charge, 2)
            if failure == "HTTPException":
                raise HTTPException(409)
            if failure == "unexpected":
                raise LookupError
            return "no number"

        match failure:
            case "HTTPException":
                assert await serve(app, "/1") == 409
            case "unexpected":
                with pytest.raises(LookupError):
                    await serve(app, "/1")
            case "invalid response":
                with pytest.raises(ResponseValidationError):
                    await serve(app, "/1")
            case _:
                assert await serve(app, "/one") == 422

    assert not {"enqueue", "call"} & set(events)
    assert broker.queued == []


async def test_a_failed_commit_answers_503_and_runs_nothing(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    broker.failing = True
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(
            of_request: Any = Depends(session("request session")), tasks: BackgroundTasks = way.tasks
        ) -> None:
            tasks.add_task(note, "call")
            tasks.add_task(charge, 1)

        assert await serve(app) == 503

    assert events == ["request session rolls back", "first byte of a 503"]


async def test_with_the_gate_a_dependency_that_swallows_failures_cannot_hide_a_failed_commit(
    way: Way, broker: NotingBroker, charge: Any
) -> None:
    broker.failing = True
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=True)

        @app.post("/")
        async def endpoint(
            tasks: BackgroundTasks = way.tasks,
            swallowing: Any = Depends(session("session", swallows=True), scope="function"),
        ) -> None:
            tasks.add_task(charge, 1)

        assert await serve(app) == 503


async def test_nor_can_one_of_request_scope_turn_it_into_a_success(way: Way, broker: NotingBroker, charge: Any) -> None:
    broker.failing = True
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=True)

        @app.post("/")
        async def endpoint(
            tasks: BackgroundTasks = way.tasks, swallowing: Any = Depends(session("session", swallows=True))
        ) -> None:
            tasks.add_task(charge, 1)

        # FastAPI finds that no response was sent, which is a 500.
        with pytest.raises(FastAPIError, match="Response not awaited"):
            await serve(app)

    assert events == ["session rolls back", "first byte of a 500"]


async def test_a_commit_under_way_is_not_cancelled_with_its_request(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    async with committing(way, gated, broker, charge) as app, anyio.create_task_group() as requests:
        requests.start_soon(serve, app)
        await until(lambda: "committing" in events)
        requests.cancel_scope.cancel()
        broker.let_in.set()

    assert broker.queued == ["charge"]
    assert sorted(set(events) - {"first byte of a 200"}) == ["call", "committing", "enqueue"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_nor_is_it_cancelled_in_asyncios_own_way(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    """As by a server that shuts down, or by a time-out of asyncio."""
    async with committing(way, gated, broker, charge) as app:
        request = asyncio.create_task(serve(app))
        await until(lambda: "committing" in events)
        request.cancel()
        await asyncio.sleep(0.05)
        assert not request.done()
        broker.let_in.set()
        await asyncio.wait([request])
        assert request.cancelled()

    assert broker.queued == ["charge"]
    assert sorted(set(events) - {"first byte of a 200"}) == ["call", "committing", "enqueue"]


async def test_a_commit_that_the_endpoint_left_under_way_is_waited_for(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    broker.let_in.clear()
    async with opened(broker) as dispatcher, anyio.create_task_group() as beside:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            beside.start_soon(tasks.commit)
            await until(lambda: queue_of(dispatcher).waiting > 0)
            threading.Timer(0.05, broker.let_in.set).start()

        assert await serve(app) == 200

    assert events == ["enqueue", "first byte of a 200", "call"]


async def test_and_if_it_fails_there_is_no_2xx(way: Way, gated: bool, broker: NotingBroker, charge: Any) -> None:
    broker.let_in.clear()
    broker.failing = True
    async with opened(broker) as dispatcher, anyio.create_task_group() as beside:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            async def commit() -> None:
                with pytest.raises(EnqueueError):
                    await tasks.commit()

            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            beside.start_soon(commit)
            await until(lambda: queue_of(dispatcher).waiting > 0)
            threading.Timer(0.05, broker.let_in.set).start()

        assert await serve(app) == 503

    assert events == ["first byte of a 503"]


async def test_an_endpoint_that_fails_while_its_commit_is_under_way_leaves_no_call_behind(
    way: Way, gated: bool, broker: NotingBroker, charge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broker.let_in.clear()
    async with opened(broker) as dispatcher, anyio.create_task_group() as beside:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            beside.start_soon(tasks.commit)
            await until(lambda: queue_of(dispatcher).waiting > 0)
            raise HTTPException(418)

        assert await serve(app) == 418
        broker.let_in.set()

    assert events == ["first byte of a 418", "enqueue"]
    assert "background.calls_not_run" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_time_out_of_asyncio_round_a_commit_is_one_when_the_commit_has_ended(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    async with committing(way, gated, broker, charge) as app:

        @app.post("/impatient")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            asyncio.get_running_loop().call_later(0.05, broker.let_in.set)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await tasks.commit()
            await asyncio.sleep(0)
            note("goes on")

        assert await serve(app, "/impatient") == 200

    assert broker.queued == ["charge"]
    assert [each for each in events if each != "committing"] == ["enqueue", "goes on", "first byte of a 200", "call"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_gets_through_a_commit_that_fails_too(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    """Else a loop that handles the refusal and tries again could not be stopped."""
    broker.failing = True
    async with committing(way, gated, broker, charge) as app:

        @app.post("/stubborn")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            with contextlib.suppress(EnqueueError):
                await tasks.commit()
            note("goes on")

        request = asyncio.create_task(serve(app, "/stubborn"))
        await until(lambda: "committing" in events)
        request.cancel()
        await asyncio.sleep(0.05)
        assert not request.done()
        broker.let_in.set()
        await asyncio.wait([request])
        assert request.cancelled()

    assert "goes on" not in events


async def test_of_two_commits_side_by_side_one_enqueues(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    """The first is refused and tried again at once; the second, which waited for it, is not a third."""
    broker.let_in.clear()
    # Nothing was written, and by no fault of the broker, which would open the breaker.
    broker.failing, broker.error = True, MiddlewareError("not this one")
    outcomes: list[str] = []
    async with opened(broker) as dispatcher, anyio.create_task_group() as beside:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            async def insistent() -> None:
                try:
                    await tasks.commit()
                except EnqueueError:
                    broker.failing = False
                    await tasks.commit()
                outcomes.append("insistent: accepted")

            async def other() -> None:
                try:
                    await tasks.commit()
                except EnqueueError as error:
                    outcomes.append(f"other: refused, unknown={error.unknown}")

            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            beside.start_soon(insistent)
            await until(lambda: queue_of(dispatcher).waiting > 0)
            beside.start_soon(other)
            await anyio.sleep(0.05)
            broker.let_in.set()
            await until(lambda: len(outcomes) == 2)

        assert await serve(app) == 200

    assert broker.queued == ["charge"]
    assert sorted(outcomes) == ["insistent: accepted", "other: refused, unknown=False"]
    assert events == ["enqueue", "first byte of a 200", "call"]


@pytest.mark.parametrize("stops", [False, True], ids=["continue", "stop"])
async def test_calls_that_a_response_was_given_run_once(way: Way, gated: bool, stops: bool) -> None:
    """The usual way round FastAPI's dropping of injected tasks: a background that is made of them and of another."""
    async with opened(None, on_failure="stop" if stops else "continue", in_process_running=1) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/starlette")
        async def merged(tasks: BackgroundTasks = way.tasks) -> Response:
            tasks.add_task(note_async, "call")
            return Response(background=StarletteBackgroundTasks([*tasks.tasks, BackgroundTask(note, "extra")]))

        @app.post("/ours")
        async def ours(tasks: BackgroundTasks = way.tasks) -> Response:
            tasks.add_task(note_async, "call")
            return Response(background=BackgroundTasks(tasks.tasks))

        assert await serve(app, "/starlette") == 200
        await dispatcher.join()
        assert events == ["first byte of a 200", "call", "extra"]
        events.clear()
        for _ in range(3):  # and no slot of the lane is lost
            assert await serve(app, "/ours") == 200
            await dispatcher.join()

    assert events == ["first byte of a 200", "call"] * 3


async def test_a_thread_that_the_commit_overtakes_is_told_the_truth(broker: NotingBroker, charge: Any) -> None:
    """A call that was refused is not enqueued, and one that has a ticket is."""
    adding = threading.Event()

    class SlowList(list[Any]):
        def append(self, call: Any) -> None:
            super().append(call)
            adding.set()
            time.sleep(0.1)  # the commit comes while the thread is between two steps of add_task

    async with opened(broker) as dispatcher:
        tasks = BackgroundTasks(dispatcher=dispatcher)
        tasks._queued = SlowList()
        tickets: list[Any] = []

        def add() -> None:
            with contextlib.suppress(CommittedError):
                tickets.append(tasks.add_task(charge, 1))

        thread = threading.Thread(target=add)
        thread.start()
        await until(adding.is_set)
        await tasks.commit()
        await anyio.to_thread.run_sync(thread.join)
        await tasks()

    assert len(broker.queued) == len(tickets)


@asynccontextmanager
async def committing(way: Way, gated: bool, broker: NotingBroker, charge: Any) -> AsyncIterator[FastAPI]:
    """An app whose request has its commit under way until the broker lets it in."""
    broker.let_in.clear()
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")

        async with anyio.create_task_group() as watching:

            async def watch() -> None:
                await until(lambda: queue_of(dispatcher).waiting > 0)
                note("committing")

            watching.start_soon(watch)
            yield app


def queue_of(dispatcher: Dispatcher) -> Any:
    assert dispatcher.dispatch is not None
    return dispatcher.dispatch.queue


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # what is waited for happens on a thread, which tells nobody
            await anyio.sleep(0.001)


async def test_the_facade_leaves_no_trace_in_the_schema(way: Way, gated: bool) -> None:
    async def endpoint(number: int, tasks: BackgroundTasks = way.tasks) -> None: ...

    async def bare(number: int) -> None: ...

    bare.__name__ = "endpoint"
    app, stock = way.app(Dispatcher(), gated=gated), FastAPI()
    app.post("/{number}")(endpoint)
    stock.post("/{number}")(bare)

    assert app.openapi() == stock.openapi()


# -- one facade for a request -------------------------------------------------------------------------------


async def test_the_gate_dependencies_and_the_endpoint_share_one_facade(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    seen: list[BackgroundTasks] = []

    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        async def low(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            seen.append(tasks)

        def high(_: Any = Depends(low), tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 2)
            seen.append(tasks)

        @app.post("/")
        def endpoint(_: Any = Depends(high), tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 3)
            seen.append(tasks)

        assert await serve(app) == 200

    assert len(seen) == 3
    assert len({id(tasks) for tasks in seen}) == 1
    assert [message.args for message in broker.messages()] == [(1,), (2,), (3,)]


async def test_a_request_scoped_dependency_may_ask_for_the_facade(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        async def unit_of_work(tasks: BackgroundTasks = way.tasks) -> AsyncIterator[BackgroundTasks]:
            tasks.add_task(charge, 1)
            yield tasks

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = Depends(unit_of_work)) -> None:
            tasks.add_task(charge, 2)

        assert await serve(app) == 200

    assert [message.args for message in broker.messages()] == [(1,), (2,)]


async def test_overriding_dependencies_get_the_same_facade(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        def original(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)

        async def override(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 2)

        @app.post("/", dependencies=[Depends(original)])
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 3)

        app.dependency_overrides[original] = override
        assert await serve(app) == 200

    assert [message.args for message in broker.messages()] == [(2,), (3,)]


async def test_the_gate_says_whose_dispatcher_it_is(way: Way, broker: NotingBroker, charge: Any) -> None:
    other = NotingBroker()
    async with opened(other), opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=True)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)

        assert await serve(app) == 200

    assert (broker.queued, other.queued) == (["charge"], [])


async def test_a_routers_gate_below_an_apps_takes_over_for_its_routes(way: Way) -> None:
    brokers = NotingBroker(), NotingBroker()
    async with opened(brokers[0]) as outer, opened(brokers[1]) as inner:
        app, router = way.app(outer, gated=True), APIRouter(dependencies=[way.gate(inner)])

        @weighbridge.task(durable=True)
        def charge(number: int) -> None: ...

        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")

        app.post("/outer")(endpoint)
        router.post("/inner")(endpoint)
        app.include_router(router)
        for path in ("/inner", "/outer"):
            assert await serve(app, scope=http_scope(path)) == 200
        await outer.join()
        await inner.join()

    assert [broker.queued for broker in brokers] == [["charge"], ["charge"]]
    assert events.count("call") == 2
    for broker in brokers:
        broker.close()


async def test_a_gate_that_comes_too_late_is_refused(way: Way) -> None:
    """FastAPI gives the endpoint what it gave the dependency before: the facade of the other dispatcher."""

    def asks(tasks: BackgroundTasks = way.tasks) -> None: ...

    brokers = NotingBroker(), NotingBroker()
    async with opened(brokers[0]) as outer, opened(brokers[1]) as inner:
        app = FastAPI(dependencies=[way.gate(outer), Depends(asks)])
        router = APIRouter(dependencies=[way.gate(inner)])

        @router.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None: ...

        app.include_router(router)
        with pytest.raises(DispatcherError, match="put the gate first"):
            await serve(app)

    for broker in brokers:
        broker.close()


async def test_a_gate_of_the_same_dispatcher_may_come_later(way: Way, broker: NotingBroker, charge: Any) -> None:
    def adds(tasks: BackgroundTasks = way.tasks) -> None:
        tasks.add_task(charge, 1)

    async with opened(broker) as dispatcher:
        app = FastAPI(dependencies=[Depends(adds), way.gate(dispatcher)])

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(note, "call")

        assert await serve(app) == 200

    assert broker.queued == ["charge"]
    assert events == ["enqueue", "first byte of a 200", "call"]


async def test_without_a_gate_a_mounted_app_finds_the_dispatcher_in_the_lifespan_state(
    way: Way, broker: NotingBroker, charge: Any
) -> None:
    async with opened(NotingBroker()), opened(broker) as dispatcher:
        app, mounted = FastAPI(), FastAPI()
        app.mount("/mounted", mounted)

        @mounted.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")

        scope = {**http_scope("/mounted/"), "state": {STATE: dispatcher}}
        assert await serve(app, scope=scope) == 200

    assert broker.queued == ["charge"]
    assert events == ["enqueue", "first byte of a 200", "call"]


async def test_a_scope_that_is_served_again_has_new_calls(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    attempts: list[BackgroundTasks] = []

    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            attempts.append(tasks)
            tasks.add_task(charge, len(attempts))
            tasks.add_task(note, f"call {len(attempts)}")
            if len(attempts) == 1:
                raise LookupError

        class Retrying:
            def __init__(self, app: ASGIApp) -> None:
                self.app = app

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                with pytest.raises(LookupError):
                    await self.app(scope, receive, send)
                await self.app(scope, receive, send)

        app.add_middleware(Retrying)
        assert await serve(app) == 200

    assert attempts[0] is not attempts[1]
    assert [message.args for message in broker.messages()] == [(2,)]
    assert events == ["enqueue", "first byte of a 200", "call 2"]


# -- after the response -------------------------------------------------------------------------------------


async def test_a_background_of_the_responses_own_loses_no_call(way: Way, gated: bool, broker: NotingBroker) -> None:
    async with opened(broker, wait_in_process=True) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> Response:
            tasks.add_task(note, "injected")
            own = BackgroundTasks(dispatcher=dispatcher)
            own.add_task(note, "own")
            return JSONResponse("ok", background=own)

        assert await serve(app) == 200

    assert events == ["first byte of a 200", "own", "injected"]


@pytest.mark.parametrize("settings", [{}, {"on_failure": "stop"}, None], ids=["continue", "stop", "no dispatcher"])
async def test_a_background_of_the_responses_own_loses_no_call_in_any_mode(way: Way, settings: Any) -> None:
    app = FastAPI()

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks = way.tasks) -> Response:
        tasks.add_task(note, "injected")
        own = BackgroundTasks()
        own.add_task(note, "own")
        return JSONResponse("ok", background=own)

    if settings is None:
        assert await serve(app) == 200
    else:
        async with opened(None, **settings):
            assert await serve(app) == 200

    assert sorted(events) == ["first byte of a 200", "injected", "own"]


async def test_the_facade_itself_as_the_background_runs_once(way: Way, gated: bool, broker: NotingBroker) -> None:
    async with opened(broker, wait_in_process=True) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> Response:
            tasks.add_task(note, "call")
            return JSONResponse("ok", background=tasks)

        assert await serve(app) == 200

    assert events == ["first byte of a 200", "call"]


async def test_calls_that_a_stream_adds_after_the_commit_are_refused(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/", response_class=StreamingResponse)
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> AsyncIterator[str]:
            yield "first"
            tasks.add_task(charge, 1)

        with pytest.raises(CommittedError):
            await serve(app)

    assert broker.queued == []


class Chunks:
    """A stream without an end. No generator: nobody closes one that a client has left."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return "chunk"


def responding(kind: str) -> Response:
    return StreamingResponse(Chunks()) if kind == "streamed" else JSONResponse("ok")


@pytest.mark.parametrize("kind", ["whole", "streamed"])
async def test_a_client_that_goes_away_changes_nothing(
    way: Way, gated: bool, kind: str, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> Response:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            return responding(kind)

        with pytest.raises((OSError, ClientDisconnect)):
            await serve(app, fails_at="http.response.body")

    assert broker.queued == ["charge"]
    assert events == ["enqueue", "first byte of a 200", "call"]


@pytest.mark.parametrize("kind", ["whole", "streamed"])
@pytest.mark.parametrize("on_failure", ["stop", "no dispatcher"])
async def test_a_client_that_goes_away_runs_no_call_where_starlettes_own_class_runs_none(
    way: Way, kind: str, on_failure: str
) -> None:
    app = FastAPI()

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks = way.tasks) -> Response:
        tasks.add_task(note_async, "call")
        return responding(kind)

    if on_failure == "stop":
        async with opened(None, on_failure="stop"):
            with pytest.raises((OSError, ClientDisconnect)):
                await serve(app, fails_at="http.response.body")
    else:
        with pytest.raises((OSError, ClientDisconnect)):
            await serve(app, fails_at="http.response.body")

    assert events == ["first byte of a 200"]


async def test_a_client_that_leaves_a_stream_of_events_changes_nothing(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    """FastAPI streams events out of a task group, so that the client has left is said by a group of errors."""
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        async def add(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")

        @app.post("/", response_class=EventSourceResponse, dependencies=[Depends(add)])
        async def endpoint() -> AsyncIterator[str]:
            yield "event"

        with pytest.raises(ExceptionGroup) as left:
            await serve(app, fails_at="http.response.body")

    assert left.group_contains(ClientDisconnect)
    assert broker.queued == ["charge"]
    assert events == ["enqueue", "first byte of a 200", "call"]


async def test_a_failure_after_the_commit_runs_no_call(way: Way, gated: bool, broker: NotingBroker) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        def breaking() -> Iterator[str]:
            yield "a"
            raise LookupError

        @app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> Response:
            tasks.add_task(note, "call")
            return StreamingResponse(breaking())

        with pytest.raises(LookupError):
            await serve(app)

    assert "call" not in events


# -- websockets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"on_failure": "stop"}, None], ids=["continue", "stop", "no dispatcher"])
async def test_a_websockets_calls_run_when_its_handler_has_ended(way: Way, settings: Any) -> None:
    app = FastAPI()

    @app.websocket("/")
    async def handler(socket: WebSocket, tasks: BackgroundTasks = way.tasks) -> None:
        await socket.accept()
        tasks.add_task(note, "call")
        await socket.close()

    if settings is None:
        await connect(app)
    else:
        async with opened(None, **settings):
            await connect(app)

    assert events == ["websocket.accept", "websocket.close", "call"]


async def test_a_websockets_calls_are_committed_when_its_handler_has_ended(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.websocket("/")
        async def handler(socket: WebSocket, tasks: BackgroundTasks = way.tasks) -> None:
            await socket.accept()
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            await socket.close()

        await connect(app)
        # Its end has waited for its calls.
        assert events == ["websocket.accept", "websocket.close", "enqueue", "call"]


@pytest.mark.parametrize("fails_too", [False, True], ids=["leaves", "leaves and the handler fails"])
async def test_a_websocket_that_is_served_by_a_task_group_ends_as_any_other(
    way: Way, gated: bool, fails_too: bool, broker: NotingBroker, charge: Any
) -> None:
    """One task reads and another writes; that the client has left is said by a group of errors."""
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.websocket("/")
        async def handler(socket: WebSocket, tasks: BackgroundTasks = way.tasks) -> None:
            await socket.accept()
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")

            async def write() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    if fails_too:
                        raise LookupError

            async with anyio.create_task_group() as both:
                both.start_soon(write)
                await anyio.wait_all_tasks_blocked()
                raise WebSocketDisconnect

        with pytest.raises(ExceptionGroup):
            await connect(app)
        assert ["call" in events, broker.queued] == ([False, []] if fails_too else [True, ["charge"]])


async def test_a_websocket_whose_handler_fails_enqueues_and_runs_nothing(
    way: Way, gated: bool, broker: NotingBroker, charge: Any
) -> None:
    async with opened(broker) as dispatcher:
        app = way.app(dispatcher, gated=gated)

        @app.websocket("/")
        async def handler(socket: WebSocket, tasks: BackgroundTasks = way.tasks) -> None:
            await socket.accept()
            tasks.add_task(charge, 1)
            tasks.add_task(note, "call")
            raise LookupError

        with pytest.raises(LookupError):
            await connect(app)

    assert events == ["websocket.accept"]


# -- without a dispatcher that is open ----------------------------------------------------------------------


async def test_with_no_dispatcher_open_calls_run_in_the_request_as_starlettes_do(way: Way) -> None:
    app = FastAPI()

    async def fail() -> None:
        raise LookupError

    @app.post("/")
    async def endpoint(of_request: Any = Depends(session("session")), tasks: BackgroundTasks = way.tasks) -> None:
        tasks.add_task(note, "call")
        tasks.add_task(fail)
        tasks.add_task(note, "never")

    with pytest.raises(LookupError):
        await serve(app)

    assert events == ["first byte of a 200", "call", "session rolls back"]


@pytest.mark.parametrize("dispatcher", [None, Dispatcher(on_failure="stop")], ids=["none", "stop"])
def test_where_calls_run_like_starlette_a_dependency_may_add_in_its_teardown(
    way: Way, dispatcher: Dispatcher | None
) -> None:
    """It does not run, as with Starlette; but the request, which was answered, does not fail either."""
    app = FastAPI() if dispatcher is None else FastAPI(lifespan=dispatcher.lifespan)

    async def late(tasks: Any = way.tasks) -> AsyncIterator[None]:
        yield
        tasks.add_task(note, "late")
        note("torn down")

    @app.get("/", dependencies=[Depends(late)])
    async def endpoint(tasks: Any = way.tasks) -> None:
        tasks.add_task(note, "ran")

    with TestClient(app) as client:
        assert client.get("/").status_code == 200

    assert events == ["ran", "torn down"]


def test_an_endpoint_that_runs_another_app_on_its_request_keeps_its_calls(way: Way) -> None:
    dispatcher = Dispatcher(policy="all-in-process", wait_in_process=True)
    inner = FastAPI()
    app = FastAPI(lifespan=dispatcher.lifespan)

    @inner.get("/")
    async def answers(tasks: Any = way.tasks) -> None:
        tasks.add_task(note, "inner")

    async def dropped(message: Message) -> None: ...

    @app.get("/")
    async def delegates(request: Request, tasks: Any = way.tasks) -> None:
        tasks.add_task(note, "outer")
        await inner(request.scope, request.receive, dropped)

    with TestClient(app) as client:
        assert client.get("/").status_code == 200

    assert sorted(events) == ["inner", "outer"]
