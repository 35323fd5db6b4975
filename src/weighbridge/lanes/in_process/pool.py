"""A pool: slots for one kind of call, and the chains whose first call waits for one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field

from weighbridge.call import Call
from weighbridge.lanes.in_process.chain import Chain


@dataclass(slots=True, eq=False)
class Pool:
    """Slots for sync calls, which are threads, or for async ones. A retry that is not due yet holds none."""

    limit: int
    running: int = 0
    chains: deque[tuple[Chain, Call]] = field(default_factory=deque)

    @property
    def free(self) -> int:
        """Slots without a call."""
        return max(0, self.limit - self.running)

    def take_out(self, calls: Container[Call]) -> None:
        """These calls wait for a slot no longer."""
        self.chains = deque(entry for entry in self.chains if entry[1] not in calls)
