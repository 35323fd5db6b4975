"""One request's calls on their way to the broker: accepted together, or refused together."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from weighbridge.lanes.queue.failure import Failure
from weighbridge.lanes.queue.waiter import Waiter
from weighbridge.lanes.queue.writer import Item


class Stage(StrEnum):
    """Where a batch stands. It moves once along this line, and may leave out the middle."""

    WAITING = "waiting"
    WRITING = "writing"
    SETTLED = "settled"


class Batch:
    """A request's calls as messages, who waits for them, and until when (on the publisher's clock).

    The publisher alone moves its stage. ``failure`` is final once it is settled; ``None``: accepted.
    """

    __slots__ = ("deadline_s", "failure", "items", "stage", "waiter")

    def __init__(self, items: Sequence[Item], *, waiter: Waiter) -> None:
        self.items = items
        self.waiter = waiter
        self.stage = Stage.WAITING
        self.failure: Failure | None = None
        self.deadline_s = 0.0

    @property
    def tasks(self) -> list[str]:
        """The tasks of its calls, by name."""
        return [message.actor_name for message, _ in self.items]
