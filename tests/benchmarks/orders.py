"""Tasks of the benchmarks that could be queued: those of a program itself could not."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel

from weighbridge import task


class Line(BaseModel):
    """One line of an order."""

    sku: str
    price: Decimal
    amount: int = 1


@task
def note(order_id: UUID, amount: int) -> None:
    """An id and a number, as most calls have them."""


@task
def bill(order_id: UUID, at: datetime, lines: list[Line]) -> None:
    """A whole order, as a message should not have it."""
