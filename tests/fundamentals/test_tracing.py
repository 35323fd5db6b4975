"""The trace of a request goes on in its in-process tasks: OpenTelemetry's own, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio.lowlevel
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span

from weighbridge import BackgroundTasks, Dispatcher, Ticket, task

from .broker import MemoryBroker
from .service import service

#: The tracer of the test, and what its tasks saw as the current span.
tracers: list[trace.Tracer] = []
seen: list[Span] = []


class Spans:
    """A provider of this test alone, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("tests")

    def named(self, name: str) -> ReadableSpan:
        [span] = [each for each in self._exporter.get_finished_spans() if each.name == name]
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    tracers[:], seen[:] = [spans.tracer], []
    yield spans
    spans.provider.shutdown()


def work() -> None:
    seen.append(trace.get_current_span())
    with tracers[0].start_as_current_span("work"):
        pass


async def work_async() -> None:
    await anyio.lowlevel.checkpoint()
    seen.append(trace.get_current_span())
    with tracers[0].start_as_current_span("work"):
        await anyio.lowlevel.checkpoint()


BOTH = pytest.mark.parametrize("func", [work, work_async])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@BOTH
async def test_the_span_at_add_task_is_the_span_in_the_task(spans: Spans, func: Callable[[], Any]) -> None:
    async with Dispatcher() as dispatcher:
        async with dispatcher.tasks() as tasks:
            with spans.tracer.start_as_current_span("adds") as adding:
                tasks.add_task(func)
            with spans.tracer.start_as_current_span("another"):
                pass
        await dispatcher.join()
    assert seen == [adding]
    work = spans.named("work")
    assert work.parent is not None
    assert work.parent.span_id == adding.get_span_context().span_id
    assert work.context.trace_id == adding.get_span_context().trace_id


def traced_app(spans: Spans, func: Callable[[], Any], *, wait: bool) -> FastAPI:
    dispatcher = Dispatcher(wait_in_process=wait)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/async")
    async def on_the_loop(tasks: BackgroundTasks) -> None:
        tasks.add_task(func)

    @app.post("/sync")
    def on_a_thread(tasks: BackgroundTasks) -> None:
        tasks.add_task(func)

    FastAPIInstrumentor.instrument_app(app, tracer_provider=spans.provider)
    return app


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("endpoint", ["/async", "/sync"])
@BOTH
def test_spans_that_a_task_makes_belong_to_the_trace_of_its_request(
    spans: Spans, func: Callable[[], Any], endpoint: str, wait: bool
) -> None:
    app = traced_app(spans, func, wait=wait)
    with TestClient(app) as client:
        assert client.post(endpoint).status_code == 200
    # The app is closed by now, and has waited for the call.
    request, work = spans.named(f"POST {endpoint}"), spans.named("work")
    assert work.context.trace_id == request.context.trace_id
    assert work.parent is not None
    assert work.parent.span_id == request.context.span_id


def test_each_request_keeps_a_trace_of_its_own(spans: Spans) -> None:
    app = traced_app(spans, work_async, wait=True)
    with TestClient(app) as client:
        client.post("/async")
        client.post("/sync")
    assert len({span.get_span_context().trace_id for span in seen}) == 2


def work_in_a_worker(carrier: dict[str, str]) -> None:
    with tracers[0].start_as_current_span("work", context=extract(carrier)):
        pass


def test_a_trace_that_is_passed_as_an_argument_goes_on_in_a_worker(spans: Spans, broker: MemoryBroker) -> None:
    queued = task(work_in_a_worker, durable=True, name="work")

    def add(tasks: BackgroundTasks) -> Ticket:
        with spans.tracer.start_as_current_span("adds"):
            carrier: dict[str, str] = {}
            inject(carrier)
            return tasks.add_task(queued, carrier)

    Dispatcher(broker=broker).worker_broker()
    with TestClient(service(broker, add)) as client, broker.worker():
        client.post("/")
    adds, work = spans.named("adds"), spans.named("work")
    assert work.parent is not None
    assert (work.context.trace_id, work.parent.span_id) == (adds.context.trace_id, adds.context.span_id)


def test_a_message_carries_no_trace(spans: Spans, broker: MemoryBroker) -> None:
    queued = task(work, durable=True, name="work")

    def add(tasks: BackgroundTasks) -> Ticket:
        with spans.tracer.start_as_current_span("adds"):
            return tasks.add_task(queued)

    Dispatcher(broker=broker).worker_broker()
    with TestClient(service(broker, add)) as client, broker.worker():
        client.post("/")
    assert spans.named("work").parent is None
