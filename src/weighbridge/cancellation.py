"""Cancellation that has to wait: a commit under way ends first, whoever cancels its request.

A cancel scope that is shielded keeps anyio's and trio's cancellations out. It does not keep out asyncio's own
``Task.cancel``, which is how ``asyncio.timeout`` and a server that shuts down cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def to_the_end(wait: Callable[[], Awaitable[T]]) -> T:
    """Await ``wait()``, and await it anew as often as it is cancelled; what bounds it is its own.

    A cancellation of asyncio's own is left for :func:`obey`, once its caller has kept what came of the wait.
    """
    with anyio.CancelScope(shield=True):
        while True:
            try:
                return await wait()
            except asyncio.CancelledError:
                continue
    raise AssertionError("a scope that nobody cancels swallows nothing")


def cancellations() -> int:
    """How often asyncio was asked to cancel the running task and the task has not answered; 0 on trio."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio
        return 0
    return 0 if task is None else task.cancelling()


def obey(*, since: int) -> None:
    """Let a cancellation through that was put off, if :func:`cancellations` has grown ``since``.

    Raised here and not by another ``Task.cancel``: that would come out of the next ``await``, which may stand outside
    the ``asyncio.timeout`` that asked.
    """
    if cancellations() > since:
        raise asyncio.CancelledError
