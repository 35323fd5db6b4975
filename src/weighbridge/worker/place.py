"""One child's place under the supervisor: it stays when the child dies, and gets another one."""

from __future__ import annotations

from dataclasses import dataclass, field

from weighbridge.worker.backoff import Backoff
from weighbridge.worker.control import ChildOptions
from weighbridge.worker.process import ChildProcess


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """What each child in it is to do, the child if there is one, and when the next comes (supervisor's clock)."""

    number: int
    options: ChildOptions
    child: ChildProcess | None = None
    backoff: Backoff = field(default_factory=Backoff)
    start_at_s: float | None = None

    def start_later(self, *, now_s: float, lived_s: float) -> float:
        """Another child comes after a while; in how many seconds."""
        delay_s = self.backoff.after_death(lived_s=lived_s)
        self.start_at_s = now_s + delay_s
        return delay_s
