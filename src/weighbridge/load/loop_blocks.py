"""Loop blocks: how often and how long the calls of each task have blocked the event loop."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Names of tasks that are kept apart. A service has far fewer; functions made while it runs might have any number.
NAMES_KEPT: Final = 1_000
#: What the tasks beyond those are counted as.
OTHER_TASKS: Final = "(other tasks)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlocks:
    """How the in-process calls of one task have blocked the event loop.

    ``blocks`` counts the times, ``longest_s`` is the longest of them and ``total_s`` their sum, in seconds.
    """

    blocks: int
    longest_s: float
    total_s: float


class LoopBlockCounter:
    """Counts by the name of the task, on any thread."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._by_task: dict[str, LoopBlocks] = {}

    def note(self, task: str, blocked_s: float, *, counted_s: float = 0.0) -> LoopBlocks:
        """Count a block of ``task``, or how it has grown if ``counted_s`` of it is counted; the task's numbers now."""
        with self._lock:
            name = name_to_keep(task, self._by_task)
            before = self._by_task.get(name, LoopBlocks(blocks=0, longest_s=0.0, total_s=0.0))
            now = self._by_task[name] = LoopBlocks(
                blocks=before.blocks + (0 if counted_s else 1),
                longest_s=max(before.longest_s, blocked_s),
                total_s=before.total_s + blocked_s - counted_s,
            )
            return now

    def by_task(self) -> Mapping[str, LoopBlocks]:
        """The numbers at this moment, of each task that has blocked the loop."""
        with self._lock:
            return dict(self._by_task)


def name_to_keep(task: str, kept: Mapping[str, object]) -> str:
    """The name under which ``kept`` holds ``task``: its own, or a common one when it holds many names already."""
    return task if task in kept or len(kept) < NAMES_KEPT else OTHER_TASKS
