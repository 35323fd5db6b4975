"""The registration of a worker process: entered when it starts, renewed while it lives, taken away when it stops."""

from __future__ import annotations

import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Final, TypeVar

import dramatiq
import redis

from weighbridge._version import __version__
from weighbridge.events import emit
from weighbridge.lanes.queue import TypedActor
from weighbridge.lanes.queue.fingerprint import Fingerprint
from weighbridge.lanes.queue.patient_client import PatientClient
from weighbridge.lanes.queue.register import INDEX_EVERY_S, RECORD_TTL_S, Register, WorkerRecord
from weighbridge.lanes.queue.streams import StreamsBroker

T = TypeVar("T")

logger: Final = logging.getLogger("weighbridge.worker")

NOT_REGISTERED: Final = "worker.not_registered"
#: Renewals in the life of a record: so a process stays registered if one is lost, or comes late.
RENEWALS: Final = 3
#: Seconds that the end of a process waits for its record to be taken away.
LEAVE_S: Final = 1.0


def versions() -> dict[str, str]:
    """The versions of what decides how this process reads messages."""
    return {
        "weighbridge": __version__,
        "python": platform.python_version(),
        "dramatiq": version("dramatiq"),
        "pydantic": version("pydantic"),
    }


def record_of(broker: StreamsBroker, *, queues: Sequence[str], threads: int) -> WorkerRecord:
    """What this process says of itself; it has not been entered yet."""
    served = [actor for actor in broker.actors.values() if actor.queue_name in queues]
    return WorkerRecord(
        id=broker.consumer_name,
        host=socket.gethostname(),
        pid=os.getpid(),
        queues=tuple(queues),
        threads=threads,
        started_s=0.0,
        versions=versions(),
        tasks={each.task: each.to_plain() for each in _fingerprints(served)},
    )


def _fingerprints(actors: Iterable[dramatiq.Actor[..., object]]) -> list[Fingerprint]:
    """Of our tasks; an actor of the user's own has no declared signature."""
    return [Fingerprint.of(actor.spec) for actor in actors if isinstance(actor, TypedActor)]


class Registration(threading.Thread):
    """Keeps this process in the register, on a thread and a connection of its own.

    One command every third of a record's life, and five more every ten minutes. Whatever the server does, the worker
    does not notice: without an answer the thread tries again at the next turn, and a record that is gone (the server
    was restarted without its data, or this process was stopped for long) is entered anew.
    """

    def __init__(
        self, *, client: redis.Redis, namespace: str, record: WorkerRecord, ttl_s: float = RECORD_TTL_S
    ) -> None:
        super().__init__(name="weighbridge-registration", daemon=True)
        self._patient = PatientClient(client)
        self._register = Register(self._patient.client, namespace, ttl_s=ttl_s)
        self._record = record
        self._every_s = ttl_s / RENEWALS
        self._ended = threading.Event()
        self._refused = False

    def run(self) -> None:
        """Enter, renew, and leave when it is asked to."""
        index_at_s: float | None = None
        while True:
            now_s = time.monotonic()
            if (
                index_at_s is None
                or now_s >= index_at_s
                or self._tried(lambda: self._register.renew(self._record.id)) is False
            ):
                index_at_s = now_s + INDEX_EVERY_S if self._tried(self._enter) else None
            if self._ended.wait(self._every_s):
                break
        if index_at_s is not None:
            self._tried(lambda: self._register.leave(self._record.id))
        self._patient.close()

    def stop(self) -> None:
        """Leave the register. Waits for that, but no longer than a second."""
        self._ended.set()
        self.join(LEAVE_S)

    def _enter(self) -> bool:
        if not self._record.started_s:
            self._record = replace(self._record, started_s=self._register.now_s())
        self._register.enter(self._record)
        return True

    def _tried(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except redis.ResponseError as error:
            # The server is there and does not let this process register: a permission, no memory. Said once.
            if not self._refused:
                self._refused = True
                emit(logger, NOT_REGISTERED, level=logging.WARNING, problem=error, remedy=_REMEDY)
        except Exception:  # noqa: BLE001  # without a server there is no register; Contact tells of it
            return None
        return None


_REMEDY: Final = "weighbridge doctor does not see this process; grant its user the keys and commands of the register"


def registration_of(broker: dramatiq.Broker, *, queues: Sequence[str], threads: int) -> Registration | None:
    """The registration of this process; ``None`` on a broker that has no register."""
    if not isinstance(broker, StreamsBroker):
        return None
    record = record_of(broker, queues=queues, threads=threads)
    return Registration(client=broker.client, namespace=broker.namespace, record=record)
