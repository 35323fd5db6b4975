"""The tasks: plain functions, each declared by what it needs and not by where it shall run."""

from __future__ import annotations

import threading
from collections import Counter

import anyio
import anyio.to_thread

from orders import journal
from orders.chart import bar_chart
from weighbridge import Weight, task


class Sales:
    """What was sold since the service started; it lives in the memory of the web process alone."""

    def __init__(self) -> None:
        self._pieces: Counter[str] = Counter()
        self._lock = threading.Lock()  # sync tasks run on several threads

    def add(self, product: str, pieces: int) -> None:
        with self._lock:
            self._pieces[product] += pieces

    def pieces(self) -> dict[str, int]:
        with self._lock:
            return dict(self._pieces)


@task(weight=Weight.LIGHT)
def audit(request_id: str, event: str) -> None:
    """One line into a file: less work than sending a message to somebody who does it."""
    with journal.run("audit", request_id):
        journal.append("audit.log", f"{request_id} {event}")


@task(shares_memory=True)
def count_sale(sales: Sales, request_id: str, product: str, pieces: int) -> None:
    """Changes an object of the web process, so no other process can do it."""
    with journal.run("count_sale", request_id):
        sales.add(product, pieces)


@task(durable=True)
async def charge(request_id: str, cents: int) -> None:
    """Takes the money: light, but it must survive a crash of the web process, so it is always queued."""
    await anyio.sleep(0.02)  # stands for the request to the payment provider
    await anyio.to_thread.run_sync(book, request_id, cents)


def book(request_id: str, cents: int) -> None:
    with journal.run("charge", request_id):
        journal.append("charges.log", f"{request_id} {cents}")


@task(weight=150)  # milliseconds of CPU time, as measured
def render_report(request_id: str, values: list[float]) -> None:
    """Draws a chart: work for a processor, which would hold up every request of its process meanwhile."""
    with journal.run("render_report", request_id):
        (journal.folder() / f"report-{request_id}.png").write_bytes(bar_chart(values))
