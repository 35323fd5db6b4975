"""The publisher's inbox: batches in the order they came, bounded, each moved along its stages once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from weighbridge.errors import EnqueueError, LaneFullError
from weighbridge.lanes.queue.availability import RETRY_AFTER_S
from weighbridge.lanes.queue.batch import Batch, Stage
from weighbridge.lanes.queue.failure import Failure
from weighbridge.lanes.queue.waiter import ThreadWaiter


class Inbox:
    """Callers :meth:`add` from any thread and loop, and may :meth:`give_up`; one thread takes and settles.

    Each batch is settled by whoever comes first: its caller, whose time has passed, or the thread. What a caller
    gave up while it waited is never taken, so it is certainly never written.
    """

    def __init__(self, *, waiting_limit: int, timeout_s: float, clock: Callable[[], float]) -> None:
        self._waiting_limit = waiting_limit
        self._timeout_s = timeout_s
        self._clock = clock
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._waiting = 0
        self._closed = False
        # Guards the stages, the count and the end. Held for microseconds, never while anything is awaited.
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Calls that were added and are not settled."""
        return self._waiting

    def add(self, batch: Batch) -> None:
        """Let ``batch`` wait, for ``timeout_s`` seconds at most.

        :raises LaneFullError: if more calls than the bound would wait.
        :raises EnqueueError: if the inbox is closed.
        """
        calls = len(batch.items)
        with self._lock:
            if self._closed:
                raise EnqueueError(
                    problem="the queue lane is closed, as this service shuts down",
                    tasks=batch.tasks,
                    unknown=False,
                    retry_after_s=RETRY_AFTER_S,
                )
            if self._waiting + calls > self._waiting_limit:
                raise LaneFullError(
                    problem=f"{self._waiting} calls wait for the broker, and {calls} more would exceed "
                    f"publisher_waiting={self._waiting_limit}",
                    tasks=batch.tasks,
                    unknown=False,
                    retry_after_s=RETRY_AFTER_S if calls <= self._waiting_limit else None,
                )
            self._waiting += calls
            batch.deadline_s = self._clock() + self._timeout_s
            self._batches.put(batch)

    def give_up(self, batch: Batch, *, address: str) -> Failure | None:
        """Settle ``batch`` now, since nobody waits any longer; how it ended."""
        with self._lock:
            if batch.stage is Stage.WAITING:
                self._settle(batch, self._never_written())
            elif batch.stage is Stage.WRITING:
                problem = f"the broker at {address} did not confirm the write within {self._timeout_s} s"
                self._settle(batch, Failure(problem=problem, unknown=True))
            return batch.failure

    def nudge(self) -> None:
        """Let the thread that waits in :meth:`take` look up: it takes a batch of no calls, settled."""
        nudge = Batch((), waiter=ThreadWaiter(timeout_s=0))
        nudge.stage = Stage.SETTLED
        self._batches.put(nudge)

    def close(self) -> None:
        """Let nothing more in. What is in can still be taken, and after it comes the end."""
        with self._lock:
            self._closed = True
            self._batches.put(None)

    def take(self, *, messages: int, timeout_s: float | None) -> list[Batch] | None:
        """Wait for a batch, and take up to ``messages`` messages' worth (a batch at least); ``None``: the end.

        :raises Empty: after ``timeout_s`` seconds without one.
        """
        batch = self._batches.get(timeout=timeout_s)
        taken: list[Batch] = []
        while batch is not None:
            taken.append(batch)
            messages -= len(batch.items)
            if messages <= 0:
                return taken
            try:
                batch = self._batches.get_nowait()
            except Empty:
                return taken
        self._batches.put(None)  # the end stays the end, for the next take
        return taken or None

    def begin(self, batches: Iterable[Batch]) -> tuple[list[Batch], list[Batch]]:
        """Those that are being written from now on, and those whose time has passed; the rest was given up."""
        begun: list[Batch] = []
        late: list[Batch] = []
        now_s = self._clock()
        with self._lock:
            for batch in batches:
                if batch.stage is Stage.WAITING and batch.deadline_s <= now_s:
                    self._settle(batch, self._never_written())
                    late.append(batch)
                elif batch.stage is not Stage.SETTLED:
                    batch.stage = Stage.WRITING
                    begun.append(batch)
        return begun, late

    def end(self, batches: Iterable[Batch], failure: Failure | None) -> tuple[list[Batch], list[Batch]]:
        """Settle these; those that somebody still waits for, and those that were given up meanwhile."""
        ended: list[Batch] = []
        given_up: list[Batch] = []
        with self._lock:
            for batch in batches:
                if batch.stage is Stage.SETTLED:
                    given_up.append(batch)
                else:
                    self._settle(batch, failure)
                    ended.append(batch)
        return ended, given_up

    def _settle(self, batch: Batch, failure: Failure | None) -> None:
        batch.stage = Stage.SETTLED
        batch.failure = failure
        self._waiting -= len(batch.items)

    def _never_written(self) -> Failure:
        problem = f"the broker did not answer for {self._timeout_s} s, in which they waited for their turn"
        return Failure(problem=problem, unknown=False)
