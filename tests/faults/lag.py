"""How late an event loop is: a coroutine that asks to be woken every millisecond, and notes by how much it was late."""

from __future__ import annotations

import asyncio
import time


class LoopLag:
    """Lateness of the running loop, in milliseconds."""

    def __init__(self) -> None:
        self._late_ms: list[float] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to measure the running loop."""
        self._task = asyncio.create_task(self._measure())

    def stop(self) -> None:
        """Measure no more."""
        if self._task is not None:
            self._task.cancel()

    def take(self) -> list[float]:
        """What was measured since the last take."""
        taken, self._late_ms = self._late_ms, []
        return taken

    async def _measure(self) -> None:
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(0.001)
            self._late_ms.append((time.perf_counter() - before_s - 0.001) * 1000)
