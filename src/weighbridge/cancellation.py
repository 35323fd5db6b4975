"""Cancellation that has to wait: a commit under way ends first, whoever cancels its request.

A cancel scope that is shielded keeps anyio's and trio's cancellations out. It does not keep out asyncio's own
``Task.cancel``, which is how ``asyncio.timeout``, Ctrl-C under ``asyncio.run`` and a server that shuts down cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

import anyio

T = TypeVar("T")


class CancelledAfterwards:
    """``async with CancelledAfterwards():`` a block that ends before a cancellation gets through.

    One that is due comes out before the block begins, one that comes meanwhile at its end, also in the place of an
    error of the block: raised there and not by another ``Task.cancel``, which would come out of the next ``await``, and
    that may stand outside the ``asyncio.timeout`` that asked. Whatever the block waits for, it waits for by
    :func:`to_the_end`.
    """

    __slots__ = ("_since",)

    async def __aenter__(self) -> None:
        if _cancellations():
            # Shielded, for a scope that was left by another error would cancel this once more.
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0)
        self._since = _cancellations()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if _cancellations() > self._since:
            raise asyncio.CancelledError from error


async def to_the_end(wait: Callable[[], Awaitable[T]]) -> T:
    """Await ``wait()``, and await it anew as often as it is cancelled; what bounds it is its own.

    To be awaited in :class:`CancelledAfterwards`, or a cancellation of asyncio's own is lost.
    """
    with anyio.CancelScope(shield=True):
        while True:
            try:
                return await wait()
            except asyncio.CancelledError:
                continue
    raise AssertionError("a scope that nobody cancels swallows nothing")


def _cancellations() -> int:
    """How often asyncio was asked to cancel the running task and the task has not answered; 0 on trio."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio
        return 0
    return 0 if task is None else task.cancelling()
