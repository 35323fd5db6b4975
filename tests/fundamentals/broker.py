"""A broker in memory, which says what is queued, and a real Dramatiq worker for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.common import dq_name
from dramatiq.middleware import AgeLimit, AsyncIO, Retries


class MemoryBroker(StubBroker):
    """Dramatiq's broker for tests, with the middleware that tasks of every kind need."""

    def __init__(self) -> None:
        super().__init__(middleware=[AgeLimit(), AsyncIO(), Retries()])

    def messages(self, queue: str = "default") -> list[dramatiq.Message[object]]:
        """What waits in one queue, its delayed messages last."""
        return [
            dramatiq.Message.decode(data)
            for name in (queue, dq_name(queue))
            if name in self.queues
            for data in list(self.queues[name].queue)
        ]

    @property
    def queued(self) -> list[str]:
        """The function names of all that waits, by queue."""
        names = sorted({name.removesuffix(".DQ") for name in self.queues})
        return [message.actor_name.rpartition(".")[2] for name in names for message in self.messages(name)]

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker runs what is queued; at the end, all of it has run."""
        worker = dramatiq.Worker(self, worker_timeout=10, worker_threads=2)
        worker.start()
        try:
            yield
            for queue in list(self.queues):
                self.join(queue, timeout=10_000)
            worker.join()
        finally:
            worker.stop()


class SlowBroker(MemoryBroker):
    """Takes a message when it is let in."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_in = threading.Event(), threading.Event()

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        self.asked.set()
        assert self.let_in.wait(10)
        return super().enqueue(message, delay=delay)
