"""What a choice of a lane needs of its surroundings: the readings of load, and the queue."""

from __future__ import annotations

from typing import Protocol

from weighbridge.call import CallOptions
from weighbridge.decision import BrokerReading, InProcessReading, LoopReading
from weighbridge.task import TaskSpec


class Readings(Protocol):
    """Where the facts about load come from. Each is cheap: nothing here may wait or probe."""

    def in_process(self, *, ahead: int = 0) -> InProcessReading:
        """The in-process lane's counters at this moment; ``ahead`` more calls are about to wait."""
        ...

    def loop(self) -> LoopReading:
        """The last measured lag of the event loop."""
        ...

    def broker(self, queue: str) -> BrokerReading:
        """The last reading of the broker, with the waiting messages of ``queue``."""
        ...


class Queue(Protocol):
    """The queue, as far as a choice needs it. Cheap: nothing here may wait or probe."""

    def check(self, spec: TaskSpec, options: CallOptions) -> None:
        """Raise an error for the request that adds the call, if the broker cannot do what it asks for."""
        ...

    @property
    def refuses(self) -> bool:
        """Whether the broker is known to be away, so that calls are refused without asking it."""
        ...

    def note_ran_here(self, calls: int) -> None:
        """Count calls that take the lane in process instead."""
        ...
