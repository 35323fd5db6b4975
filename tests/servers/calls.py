"""Calls for a lane without an app: a task that records its runs, a client that commits, a worker in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any
from uuid import uuid4

import dramatiq

from weighbridge.call import Call, CallOptions
from weighbridge.decision import Decision, Lane
from weighbridge.declaration import task
from weighbridge.errors import EnqueueError
from weighbridge.lanes.queue import QueueLane, bind
from weighbridge.task import TaskSpec, registry

QUEUED = Decision(lane=Lane.QUEUE, reason="a test", rule="test")


class Recorder:
    """A registered task that notes the number of each run; numbers in ``failing`` raise as often as they are there."""

    def __init__(self, *, queue: str = "default", retries: int = 1) -> None:
        self.runs: list[int] = []
        self.failing: list[int] = []
        self.name = f"record-{uuid4().hex}"

        def record(number: int) -> None:
            if number in self.failing:
                self.failing.remove(number)
                raise RuntimeError(f"{number} fails")
            self.runs.append(number)

        task(name=self.name, queue=queue, retries=retries, min_backoff_s=0.01, max_backoff_s=0.02)(record)

    @property
    def spec(self) -> TaskSpec:
        spec = registry.get(self.name)
        assert spec is not None
        return spec

    def call(self, number: int, **options: Any) -> Call:
        spec = self.spec
        return Call(
            id=str(uuid4()),
            name=spec.name,
            func=spec.func,
            args=(number,),
            kwargs={},
            spec=spec,
            is_async=False,
            decision=QUEUED,
            context=Context(),
            added_at_s=0.0,
            options=CallOptions(**options),
            payload=spec.codec.encode((number,), {}),
        )


@contextmanager
def recorder(*, queue: str = "default", retries: int = 1) -> Iterator[Recorder]:
    made = Recorder(queue=queue, retries=retries)
    try:
        yield made
    finally:
        registry.discard(made.name)


@contextmanager
def open_lane(broker: dramatiq.Broker, *, timeout_s: float = 0.5) -> Iterator[QueueLane]:
    lane = QueueLane(broker=broker, timeout_s=timeout_s, waiting_limit=1_000, close_broker=True)
    lane.open()
    try:
        yield lane
    finally:
        lane.close()


@contextmanager
def worker_on(broker: dramatiq.Broker, spec: TaskSpec, *, poll_ms: int = 100) -> Iterator[dramatiq.Worker]:
    bind(broker, spec)
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=poll_ms)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        broker.close()


class Customer(threading.Thread):
    """Commits one call after the other, as a web process does, and keeps account of the answers."""

    def __init__(self, lane: QueueLane, recorder: Recorder) -> None:
        super().__init__(daemon=True)
        self.accepted: list[int] = []
        self.refused: list[EnqueueError] = []
        self._lane = lane
        self._recorder = recorder
        self._stopped = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            try:
                self._lane.commit_blocking([self._recorder.call(number)])
            except EnqueueError as error:
                self.refused.append(error)
                self._stopped.wait(0.02)  # as a client that comes again does
            else:
                self.accepted.append(number)
                self._stopped.wait(0.002)

    def stop(self) -> None:
        self._stopped.set()
        self.join(20)
        assert not self.is_alive()
