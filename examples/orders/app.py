"""The service: routes that add tasks as with FastAPI's own BackgroundTasks."""

from __future__ import annotations

import os
import uuid
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Path
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from orders import journal
from orders.tasks import Sales, audit, charge, count_sale, render_report
from weighbridge import BackgroundTasks, Dispatcher, Ticket

dispatcher = Dispatcher()
app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])
sales = Sales()


def request_id(x_request_id: Annotated[str | None, Header(pattern=r"^[\w-]{1,64}$")] = None) -> str:
    """The caller's id for this request, or a new one; every task gets it, so its traces can be joined."""
    return x_request_id or uuid.uuid4().hex


RequestId = Annotated[str, Depends(request_id)]


class Order(BaseModel):
    product: str = Field(max_length=100)
    pieces: int = Field(ge=1, le=1_000)
    cents: int = Field(ge=1)


class Figures(BaseModel):
    values: list[Annotated[float, Field(ge=0)]] = Field(min_length=1, max_length=100)


@app.post("/orders", status_code=202)
async def place(order: Order, request_id: RequestId, tasks: BackgroundTasks) -> dict[str, object]:
    """An order: a line for the audit, a number in memory, and money that must not be forgotten."""
    return accepted(
        request_id,
        audit=tasks.add_task(audit, request_id, f"ordered {order.pieces} of {order.product!r}"),
        count_sale=tasks.add_task(count_sale, sales, request_id, order.product, order.pieces),
        charge=tasks.add_task(charge, request_id, order.cents),
    )


@app.get("/products/{product}")
async def look(product: str, request_id: RequestId, tasks: BackgroundTasks) -> dict[str, object]:
    """A page view: nothing but a line for the audit."""
    return {
        "sold": sales.pieces().get(product, 0),
        **accepted(request_id, audit=tasks.add_task(audit, request_id, f"looked at {product!r}")),
    }


@app.post("/reports", status_code=202)
async def report(figures: Figures, request_id: RequestId, tasks: BackgroundTasks) -> dict[str, object]:
    """A report: a picture that takes a processor some 150 ms."""
    return accepted(request_id, render_report=tasks.add_task(render_report, request_id, figures.values))


@app.get("/reports/{report_id}", response_class=FileResponse)
def fetch(report_id: Annotated[str, Path(pattern=r"^[\w-]{1,64}$")]) -> FileResponse:
    """The picture, once it is drawn."""
    path = journal.folder() / f"report-{report_id}.png"
    if not path.exists():
        raise HTTPException(404, "not drawn yet, or never asked for")
    return FileResponse(path, media_type="image/png")


@app.get("/health")
async def health() -> dict[str, object]:
    """What a load balancer asks; the process id shows which process is the web process."""
    return {"ok": True, "pid": os.getpid()}


@app.get("/sales")
async def pieces_sold() -> dict[str, int]:
    """The counter that ``count_sale`` keeps in this process's memory."""
    return sales.pieces()


def accepted(request_id: str, **tickets: Ticket) -> dict[str, object]:
    """The answer of a route that added tasks: each call's id, lane, and the reason for that lane."""
    return {
        "request_id": request_id,
        "calls": {
            task: {"id": ticket.id, "lane": ticket.lane, "reason": ticket.reason} for task, ticket in tickets.items()
        },
    }
