"""``Weighbridge-Decision`` on responses: by each way to the commit point, and over real sockets."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import anyio
import anyio.to_thread
import dramatiq
import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket
from fastapi.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.fundamentals.broker import MemoryBroker, SlowBroker
from tests.servers.structured_field import Member, members_of
from tests.servers.uvicorn_thread import PATIENCE_S, uvicorn_serving

import weighbridge
from weighbridge import DecisionHeaderMiddleware, Dispatcher, Facts, Lane, Weight, task
from weighbridge.background.collector import COLLECTOR
from weighbridge.background.facade import BackgroundTasks
from weighbridge.background.injection import provider_of
from weighbridge.errors import EnqueueError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("only_own_tasks")]

HEADER = "weighbridge-decision"
HEAVY = {"task": "render", "rule": "heavy work is queued", "weight": 200}
LIGHT = {"task": "notify", "rule": "otherwise", "weight": 1}
CHARGE = {"task": "charge", "rule": "durable", "weight": 0}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["exit stacks", "generators"])
def on_exit_stacks(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class FailingBroker(MemoryBroker):
    """Fails in the middle of a write, so that nobody knows what it has taken."""

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        raise dramatiq.errors.ConnectionClosed("mid-air")  # type: ignore[no-untyped-call]  # not typed


@pytest.fixture
def no_broker_url() -> str:
    """An address where no broker listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{probe.getsockname()[1]}/0"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Three tasks: a light one, a heavy one, and one that must be queued."""

    notify: Callable[..., Any]
    render: Callable[..., Any]
    charge: Callable[..., Any]

    def add_all(self, tasks: BackgroundTasks) -> None:
        tasks.add_task(self.notify, 1)
        tasks.add_task(self.render, 1)
        tasks.add_task(self.notify, 2)
        tasks.add_task(self.notify, 3)
        tasks.add_task(self.charge, 1)


#: What ``add_all`` gives.
ALL = [
    ("in_process", LIGHT),
    ("queue", HEAVY),
    ("in_process", {**LIGHT, "calls": 2}),
    ("queue", CHARGE),
]


@pytest.fixture
def shop(only_own_tasks: None) -> Shop:
    @task(weight=Weight.LIGHT, name="notify")
    def notify(user: int) -> None: ...

    @task(weight=Weight.HEAVY, name="render", on_unavailable="run_here")
    def render(report: int) -> None: ...

    @task(durable=True, name="charge")
    def charge(order: int) -> None: ...

    return Shop(notify=notify, render=render, charge=charge)


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    broker = MemoryBroker()
    yield broker
    broker.close()


@asynccontextmanager
async def opened(broker: dramatiq.Broker | None = None, **settings: Any) -> AsyncIterator[Dispatcher]:
    async with Dispatcher(broker=broker, **{"policy": "by-weight", "enqueue_timeout_s": 5, **settings}) as dispatcher:
        yield dispatcher
        await dispatcher.join()


@dataclass
class Answer:
    """What an app has sent."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    bodies: int = 0
    messages: list[Message] = field(default_factory=list)

    @property
    def values(self) -> list[str]:
        return [value.decode("ascii") for name, value in self.headers if name == HEADER.encode()]

    @property
    def members(self) -> list[Member]:
        """Those of the one header, without revisions, of which each must be there or not as it should."""
        (value,) = self.values
        return without_revisions(members_of(value))


def without_revisions(members: list[Member]) -> list[Member]:
    for _, parameters in members:
        by_policy = parameters.get("rule") in ("otherwise", "heavy work is queued")
        assert bool(parameters.pop("revision", "")) is by_policy, parameters
    return members


async def answer(app: ASGIApp, path: str = "/", *, scope: Scope | None = None) -> Answer:
    """Serve one request. An error that the app lets out after its answer, as Starlette does for 500, is passed over."""
    got = Answer()

    async def receive() -> Message:
        await anyio.lowlevel.checkpoint()
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        got.messages.append(message)
        if message["type"] == "http.response.start":
            got.status, got.headers = message["status"], list(message.get("headers", ()))
        else:
            got.bodies += 1

    if scope is None:
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
        scope["asgi"] = {"spec_version": "2.4"}
    try:
        await app(scope, receive, send)
    except Exception:
        if got.status != 500:
            raise
    return got


class Way:
    """An app on one of the two ways to the commit point, with the header."""

    def __init__(self, dispatcher: Dispatcher, *, on_exit_stacks: bool) -> None:
        self.tasks: Any = Depends(provider_of(None, on_exit_stacks=on_exit_stacks))
        self.app = FastAPI(dependencies=[Depends(provider_of(dispatcher, on_exit_stacks=on_exit_stacks))])
        self.app.add_middleware(DecisionHeaderMiddleware)


# -- FastAPI ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("on_failure", ["continue", "stop"])
async def test_a_response_tells_each_call_in_the_order_added(
    on_exit_stacks: bool, is_async: bool, on_failure: str, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker, on_failure=on_failure) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            shop.add_all(tasks)

        def sync_endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            shop.add_all(tasks)

        way.app.post("/")(endpoint if is_async else sync_endpoint)
        got = await answer(way.app)

    assert (got.status, got.members) == (200, ALL)
    assert sorted(broker.queued) == ["charge", "render"]


async def test_calls_of_dependencies_stand_before_those_of_the_endpoint(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        def audited(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.charge, 1)

        @way.app.post("/", dependencies=[Depends(audited)])
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.notify, 1)

        got = await answer(way.app)

    assert got.members == [("queue", CHARGE), ("in_process", LIGHT)]


async def test_a_response_without_calls_does_not_have_it(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None: ...

        @way.app.post("/without")
        async def without() -> None: ...

        for path in ("/", "/without", "/nowhere"):
            assert (await answer(way.app, path)).values == []


@pytest.mark.parametrize("failure", ["HTTPException", "unexpected", "invalid response"])
async def test_of_an_endpoint_that_failed_it_says_that_the_calls_were_discarded(
    on_exit_stacks: bool, failure: str, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/", response_model=int)
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> Any:
            tasks.add_task(shop.notify, 1)
            tasks.add_task(shop.charge, 1)
            if failure == "HTTPException":
                raise HTTPException(409)
            if failure == "unexpected":
                raise LookupError
            return "no number"

        # Starlette answers unexpected errors around all middleware of the app, so there the outermost app is wrapped.
        got = await answer(DecisionHeaderMiddleware(way.app))

    assert got.status == (409 if failure == "HTTPException" else 500)
    assert got.members == [
        ("in_process", {**LIGHT, "commit": "discarded"}),
        ("queue", {**CHARGE, "commit": "discarded"}),
    ]
    assert broker.queued == []


@pytest.mark.parametrize("standing", ["failed", "unknown"])
async def test_a_commit_that_failed_is_told_beside_the_503(
    on_exit_stacks: bool, standing: str, no_broker_url: str, shop: Shop
) -> None:
    nobody, midair = {"broker_url": no_broker_url}, {"broker": FailingBroker()}
    async with opened(**(nobody if standing == "failed" else midair)) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.notify, 1)
            tasks.add_task(shop.charge, 1)

        got = await answer(way.app)

    assert got.status == 503
    assert dict(got.headers)[b"weighbridge-enqueued"] == (b"unknown" if standing == "unknown" else b"no")
    assert got.members == [("in_process", {**LIGHT, "commit": "failed"}), ("queue", {**CHARGE, "commit": standing})]


async def test_what_an_early_commit_has_enqueued_is_told_as_accepted_also_if_the_endpoint_fails_then(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.notify, 1)
            tasks.add_task(shop.charge, 1)
            await tasks.commit()
            raise HTTPException(409)

        got = await answer(way.app)

    assert got.members == [("in_process", {**LIGHT, "commit": "discarded"}), ("queue", CHARGE)]
    assert broker.queued == ["charge"]


async def test_calls_that_an_endpoint_gives_up_after_a_failed_commit_are_discarded(
    on_exit_stacks: bool, no_broker_url: str, shop: Shop
) -> None:
    async with opened(broker_url=no_broker_url) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.charge, 1)
            try:
                await tasks.commit()
            except EnqueueError:
                tasks.discard()

        got = await answer(way.app)

    assert (got.status, got.members) == (200, [("queue", {**CHARGE, "commit": "discarded"})])


async def test_calls_that_are_discarded_while_the_broker_is_asked_are_unknown(on_exit_stacks: bool, shop: Shop) -> None:
    broker = SlowBroker()
    async with opened(broker) as dispatcher, anyio.create_task_group() as beside:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> Response:
            tasks.add_task(shop.charge, 1)
            beside.start_soon(tasks.commit)
            await anyio.to_thread.run_sync(broker.asked.wait)
            raise HTTPException(409)

        got = await answer(way.app)
        broker.let_in.set()

    assert got.members == [("queue", {**CHARGE, "commit": "unknown"})]


async def test_a_queued_call_that_the_commit_kept_here_is_told_in_the_lane_in_process(
    on_exit_stacks: bool, no_broker_url: str, shop: Shop
) -> None:
    async with opened(broker_url=no_broker_url) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.render, 1)

        got = await answer(way.app)

    assert got.members == [("in_process", {**HEAVY, "rule": "on_unavailable"})]


async def test_calls_that_a_stream_adds_after_the_response_has_started_are_not_in_it(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> StreamingResponse:
            async def chunks() -> AsyncIterator[str]:
                yield "one"
                async with dispatcher.tasks() as later:
                    later.add_task(shop.charge, 1)
                yield "two"

            tasks.add_task(shop.notify, 1)
            return StreamingResponse(chunks())

        got = await answer(way.app)

    assert (got.bodies, got.members) == (3, [("in_process", LIGHT)])
    assert broker.queued == ["charge"]


async def test_a_stream_of_events_has_it_too(on_exit_stacks: bool, broker: MemoryBroker, shop: Shop) -> None:
    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        def adding(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.notify, 1)

        @way.app.post("/", response_class=EventSourceResponse, dependencies=[Depends(adding)])
        async def endpoint() -> AsyncIterator[str]:
            yield "event"

        got = await answer(way.app)

    assert got.members[0][1]["task"] == "notify"


async def test_middleware_that_hands_on_a_copy_of_the_scope_does_not_hide_the_calls(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    class Copying:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(dict(scope), receive, send)

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request)

    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            shop.add_all(tasks)

        got = await answer(DecisionHeaderMiddleware(Copying(Passing(way.app))))

    assert got.members == ALL


async def test_around_a_mounted_app_that_has_it_too_it_is_one_header(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        mounted = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @mounted.app.post("/all")
        async def endpoint(tasks: BackgroundTasks = mounted.tasks) -> None:
            shop.add_all(tasks)

        without, within = FastAPI(), FastAPI()
        for app in (without, within):
            app.mount("/mounted", mounted.app)
        within.add_middleware(DecisionHeaderMiddleware)

        for app in (without, within):
            assert (await answer(app, "/mounted/all")).members == ALL


async def test_an_endpoint_that_runs_another_app_on_its_own_request_has_the_calls_of_both(
    broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        outer, inner = Way(dispatcher, on_exit_stacks=True), Way(dispatcher, on_exit_stacks=True)

        @inner.app.post("/")
        async def inner_endpoint(tasks: BackgroundTasks = inner.tasks) -> None:
            tasks.add_task(shop.charge, 1)

        class Running(Response):
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                await inner.app(scope, receive, send)

        @outer.app.post("/")
        async def endpoint(tasks: BackgroundTasks = outer.tasks) -> Response:
            tasks.add_task(shop.notify, 1)
            return Running()

        got = await answer(outer.app)

    assert got.members == [("in_process", LIGHT), ("queue", CHARGE)]


async def test_an_app_that_an_endpoint_asks_has_a_header_of_its_own(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker) as dispatcher:
        outer, inner = Way(dispatcher, on_exit_stacks=on_exit_stacks), Way(dispatcher, on_exit_stacks=on_exit_stacks)
        asked: list[Answer] = []

        @inner.app.post("/")
        async def inner_endpoint(tasks: BackgroundTasks = inner.tasks) -> None:
            tasks.add_task(shop.charge, 1)

        @outer.app.post("/")
        async def endpoint(tasks: BackgroundTasks = outer.tasks) -> None:
            asked.append(await answer(inner.app))
            tasks.add_task(shop.notify, 1)

        got = await answer(outer.app)

    assert got.members == [("in_process", LIGHT)]
    assert [each.members for each in asked] == [[("queue", CHARGE)]]


@pytest.mark.parametrize("on_failure", ["continue", "stop"])
async def test_below_the_gate_of_another_dispatcher_each_call_is_told_once(
    on_exit_stacks: bool, on_failure: str, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker, on_failure=on_failure) as first, opened(broker, on_failure=on_failure) as second:
        way = Way(first, on_exit_stacks=on_exit_stacks)
        router = APIRouter(dependencies=[Depends(provider_of(second, on_exit_stacks=on_exit_stacks))])

        @router.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            shop.add_all(tasks)

        way.app.include_router(router)
        got = await answer(way.app)

    assert got.members == ALL


@pytest.mark.parametrize("rule", ["für alle", 'a "quoted" \\ rule', "a\r\nSet-Cookie: session=stolen", "\ud83d", ""])
async def test_whatever_a_policy_in_code_calls_its_rules_the_response_is_whole(
    on_exit_stacks: bool, rule: str, broker: MemoryBroker, shop: Shop
) -> None:
    class Odd:
        def decide(self, facts: Facts) -> weighbridge.Decision:
            return weighbridge.Decision(Lane.IN_PROCESS, "because", rule)

    async with opened(broker) as dispatcher:
        dispatcher.policy = Odd()
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            tasks.add_task(shop.notify, 1)

        got = await answer(way.app)

    (value,) = got.values
    [(_, parameters)] = members_of(value)
    assert parameters["rule"] == rule.replace("\ud83d", "?")


async def test_a_request_of_ten_thousand_calls_is_answered_with_a_short_header(
    on_exit_stacks: bool, broker: MemoryBroker, shop: Shop
) -> None:
    async with opened(broker, policy="all-in-process", in_process_waiting=20_000) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.post("/")
        async def endpoint(tasks: BackgroundTasks = way.tasks) -> None:
            for number in range(10_000):
                tasks.options(weight=number).add_task(shop.notify, number)

        got = await answer(way.app)

    *told, last = got.members
    assert last == ("more", {"calls": 10_000 - len(told)})
    assert len(got.values[0]) <= 2_048


async def test_a_websocket_is_left_alone(on_exit_stacks: bool, broker: MemoryBroker, shop: Shop) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with opened(broker) as dispatcher:
        way = Way(dispatcher, on_exit_stacks=on_exit_stacks)

        @way.app.websocket("/")
        async def endpoint(socket: WebSocket, tasks: BackgroundTasks = way.tasks) -> None:
            await socket.accept()
            tasks.add_task(shop.charge, 1)
            await socket.close()

        scope: Scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b""}
        await way.app(scope, receive, send)

    assert COLLECTOR not in scope
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert all(not message.get("headers") for message in sent)
    assert broker.queued == ["charge"]


# -- any ASGI app -------------------------------------------------------------------------------------------


async def test_a_response_that_names_no_headers_at_all_gets_its_first() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        BackgroundTasks().add_task(print)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    got = await answer(DecisionHeaderMiddleware(app))

    assert [name for name, _ in got.headers] == [HEADER.encode()]


async def test_the_message_of_an_app_is_not_changed_and_one_scope_can_be_served_again() -> None:
    start: Message = {"type": "http.response.start", "status": 204, "headers": ()}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        BackgroundTasks().add_task(print)
        await send(start)
        await send({"type": "http.response.body"})

    scope: Scope = {"type": "http"}
    for _ in range(2):
        assert len((await answer(DecisionHeaderMiddleware(app), scope=scope)).values) == 1
    assert start == {"type": "http.response.start", "status": 204, "headers": ()}
    assert scope == {"type": "http"}


async def test_an_app_that_fails_before_its_response_fails_as_without_and_keeps_no_facade() -> None:
    kept: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(scope)
        BackgroundTasks().add_task(print)
        raise LookupError("of the app")

    with pytest.raises(LookupError, match="of the app"):
        await answer(DecisionHeaderMiddleware(app))
    assert COLLECTOR not in kept[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_request_leaves_no_facade_behind_in_a_cycle_of_objects(
    fails: bool, broker: MemoryBroker, shop: Shop
) -> None:
    made: list[weakref.ref[BackgroundTasks]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks = BackgroundTasks()
        made.append(weakref.ref(tasks))
        tasks.add_task(shop.notify, 1)
        if fails:
            raise LookupError
        await send({"type": "http.response.start", "status": 204})

    async with opened(broker):
        gc.collect()
        gc.disable()
        try:
            with contextlib.suppress(LookupError):
                await answer(DecisionHeaderMiddleware(app))
            assert [each() for each in made] == [None]
        finally:
            gc.enable()


# -- by hand, in plain Starlette ----------------------------------------------------------------------------


def starlette_app(endpoint: Any) -> Starlette:
    return Starlette(
        routes=[
            Route("/", endpoint, methods=["POST"]),
            Mount("/mounted", routes=[Route("/", endpoint, methods=["POST"])]),
        ],
        middleware=[Middleware(DecisionHeaderMiddleware)],
    )


@pytest.mark.parametrize("path", ["/", "/mounted/"])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_facade_that_an_endpoint_of_starlette_makes_is_told(
    is_async: bool, path: str, broker: MemoryBroker, shop: Shop
) -> None:
    async def endpoint(request: Request) -> Response:
        async with weighbridge.BackgroundTasks() as tasks:
            shop.add_all(tasks)
        return PlainTextResponse("ok", background=tasks)

    def sync_endpoint(request: Request) -> Response:
        with weighbridge.BackgroundTasks() as tasks:
            shop.add_all(tasks)
        return PlainTextResponse("ok", background=tasks)

    async with opened(broker):
        got = await answer(starlette_app(endpoint if is_async else sync_endpoint), path)

    assert (got.status, got.members) == (200, ALL)


async def test_without_a_block_it_says_that_the_commit_has_not_been_made(broker: MemoryBroker, shop: Shop) -> None:
    async def endpoint(request: Request) -> Response:
        tasks = weighbridge.BackgroundTasks()
        tasks.add_task(shop.charge, 1)
        return PlainTextResponse("ok", background=tasks)

    async with opened(broker):
        got = await answer(starlette_app(endpoint))

    assert got.members == [("queue", {**CHARGE, "commit": "open"})]
    assert broker.queued == ["charge"]


async def test_with_no_dispatcher_it_says_so(shop: Shop) -> None:
    async def endpoint(request: Request) -> Response:
        async with weighbridge.BackgroundTasks() as tasks:
            tasks.add_task(shop.render, 1)
        return PlainTextResponse("ok", background=tasks)

    got = await answer(starlette_app(endpoint))

    assert got.members == [("in_process", {**HEAVY, "rule": "no dispatcher"})]


async def test_calls_of_several_facades_stand_in_the_order_added_and_each_once(
    broker: MemoryBroker, shop: Shop
) -> None:
    async def endpoint(request: Request) -> Response:
        async with weighbridge.BackgroundTasks() as first, weighbridge.BackgroundTasks() as second:
            first.add_task(shop.charge, 1)
            second.add_task(shop.notify, 1)
            first.add_task(shop.charge, 2)
            async with dispatcher.tasks() as beside:
                beside.add_task(shop.render, 1)
            for item in second.tasks:
                first.tasks.append(item)
        return PlainTextResponse("ok", background=first)

    async with opened(broker) as dispatcher:
        got = await answer(starlette_app(endpoint))

    assert got.members == [("queue", CHARGE), ("in_process", LIGHT), ("queue", CHARGE), ("queue", HEAVY)]


async def test_an_item_that_was_put_there_by_hand_is_no_call(broker: MemoryBroker, shop: Shop) -> None:
    async def endpoint(request: Request) -> Response:
        async with weighbridge.BackgroundTasks([BackgroundTask(len, "")]) as tasks:
            tasks.add_task(shop.notify, 1)
        return PlainTextResponse("ok", background=tasks)

    async with opened(broker):
        got = await answer(starlette_app(endpoint))

    assert got.members == [("in_process", LIGHT)]


# -- over real sockets --------------------------------------------------------------------------------------


def test_a_client_of_uvicorn_reads_it(broker: MemoryBroker, shop: Shop) -> None:
    dispatcher = Dispatcher(broker=broker, policy="by-weight")
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])
    app.add_middleware(DecisionHeaderMiddleware)

    @app.post("/async")
    async def endpoint(tasks: weighbridge.BackgroundTasks) -> None:
        shop.add_all(tasks)

    @app.post("/sync")
    def sync_endpoint(tasks: weighbridge.BackgroundTasks) -> None:
        shop.add_all(tasks)

    @app.post("/many")
    def many(tasks: weighbridge.BackgroundTasks) -> None:
        for number in range(500):
            tasks.options(weight=number / 100).add_task(shop.notify, number)

    with uvicorn_serving(app) as port:
        for path in ("/async", "/sync"):
            response = httpx.post(f"http://127.0.0.1:{port}{path}")
            assert without_revisions(members_of(response.headers[HEADER])) == ALL
        last = members_of(httpx.post(f"http://127.0.0.1:{port}/many").headers[HEADER])[-1]
        assert last[0] == "more"
        assert HEADER not in httpx.get(f"http://127.0.0.1:{port}/openapi.json").headers


def test_requests_at_the_same_time_do_not_see_each_others_calls(broker: MemoryBroker, shop: Shop) -> None:
    dispatcher = Dispatcher(broker=broker, policy="by-weight")
    both = threading.Barrier(2)

    def endpoint(request: Request) -> Response:
        with weighbridge.BackgroundTasks() as tasks:
            tasks.options(weight=int(request.query_params["weight"])).add_task(shop.notify, 1)
            both.wait(PATIENCE_S)
        return JSONResponse(None, background=tasks)

    app = Starlette(
        routes=[Route("/", endpoint, methods=["POST"])],
        lifespan=dispatcher.lifespan,
        middleware=[Middleware(DecisionHeaderMiddleware)],
    )
    got: dict[int, Any] = {}

    def ask(port: int, weight: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("POST", f"/?weight={weight}", headers={"Connection": "close"})
        got[weight] = connection.getresponse().getheader(HEADER)
        connection.close()

    with uvicorn_serving(app) as port:
        threads = [threading.Thread(target=ask, args=(port, weight)) for weight in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)

    for weight in (1, 2):
        assert [parameters["weight"] for _, parameters in members_of(got[weight])] == [weight]


def test_without_the_middleware_no_response_has_it(broker: MemoryBroker, shop: Shop) -> None:
    dispatcher = Dispatcher(broker=broker)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def endpoint(tasks: weighbridge.BackgroundTasks) -> None:
        tasks.add_task(shop.notify, 1)

    with TestClient(app) as client:
        assert HEADER not in client.post("/").headers
