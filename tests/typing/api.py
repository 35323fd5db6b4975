"""Never executed: what mypy --strict and pyright must accept, and (each ``ignore`` proves it) refuse.

Both run with their check for unneeded ignores switched on, so a line that stops being an error fails the checks.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import assert_type
from uuid import UUID

from fastapi import FastAPI
from starlette.responses import Response

from weighbridge import (
    BackgroundTasks,
    Decision,
    DecisionHeaderMiddleware,
    Dispatcher,
    Explanation,
    Facts,
    Lane,
    Policy,
    Ticket,
    Weight,
    task,
)


@task
def bare(count: int) -> str:
    return "x" * count


@task(weight=Weight.HEAVY, retries=3, tags=("reports",), on_unavailable="run_here")
def render(report: UUID, *, dpi: int = 96) -> None: ...


@task(durable=True)
async def charge(order: UUID) -> None: ...


@task(weight=lambda rows: 0.2 * len(rows))
def load(rows: list[int]) -> None: ...


# What is written elsewhere is declared by a call; its options are looked at too.
assert_type(task(bare, shares_memory=True)(3), str)
task(bare, wieght=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
task(wieght=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
task(weight="heavy")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
task(on_unavailable="run_there")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]

# A declared function is the function that it was.
assert_type(bare(3), str)
bare("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def open_pool() -> AsyncIterator[None]:
    yield


@contextmanager
def open_file() -> Iterator[int]:
    yield 1


dispatcher = Dispatcher(policy="by-weight", broker_url="redis://localhost", in_process_threads=4)
Dispatcher(worker_lifespan=open_pool)
Dispatcher(worker_lifespan=open_file)
Dispatcher(worker_lifespan=open_pool())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Dispatcher(namespace=4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Dispatcher(brokerurl="redis://localhost")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])
app.add_middleware(DecisionHeaderMiddleware)
DecisionHeaderMiddleware(app)
DecisionHeaderMiddleware(app, name="Decision")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@app.post("/reports")
async def create(report: UUID, tasks: BackgroundTasks) -> dict[str, str]:
    ticket = tasks.add_task(render, report, dpi=300)
    assert_type(ticket, Ticket)
    assert_type(ticket.lane, Lane)
    tasks.add_task(charge, report)
    tasks.add_task(render, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tasks.add_task(render)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tasks.add_task(render, report, dpj=300)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tasks.options(lane="queue").add_task(render, report)
    tasks.options(delay_s=5, expires_s=60).add_task(render, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tasks.options(lane="quene")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tasks.options(delay="5")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await tasks.commit()
    return {"task": ticket.id, "lane": ticket.lane, "reason": ticket.reason}


async def plain_starlette() -> Response:
    async with BackgroundTasks() as tasks:
        assert_type(tasks, BackgroundTasks)
        tasks.add_task(bare, 3)
    return Response(background=tasks)


async def outside_a_request() -> None:
    async with dispatcher.tasks() as tasks:
        assert_type(tasks.add_task(bare, 3), Ticket)
    assert_type(dispatcher.explain(bare, 3), Explanation)
    dispatcher.explain(bare)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    dispatcher.policy = "all-queued"
    dispatcher.policy = NightPolicy()


class NightPolicy:
    def decide(self, facts: Facts, /) -> Decision:
        if facts.weight < 1:
            return Decision(Lane.IN_PROCESS, "it is light", "light")
        return Decision(lane=Lane.QUEUE, reason="it is night", rule="night")


policy: Policy = NightPolicy()
