"""Starlette without FastAPI: the endpoint makes the facade, and gives it to the response."""

from __future__ import annotations

from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from weighbridge import BackgroundTasks, Dispatcher, Weight, task

views: Counter[str] = Counter()


@task(shares_memory=True)
def count(page: str) -> None:
    views[page] += 1


@task(weight=Weight.LIGHT)
async def audit(line: str) -> None:
    print(line)


async def look(request: Request) -> JSONResponse:
    page = request.path_params["page"]
    async with BackgroundTasks() as tasks:  # its end is the commit point
        tasks.add_task(count, page)
        ticket = tasks.add_task(audit, f"somebody looked at {page}")
    return JSONResponse({"views": views[page], "lane": ticket.lane, "reason": ticket.reason}, background=tasks)


dispatcher = Dispatcher()
app = Starlette(routes=[Route("/pages/{page}", look)], lifespan=dispatcher.lifespan)
