"""The examination of a broker: reach it, read what it says, and judge; each kind as far as it can be asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import dramatiq
import redis

from weighbridge.lanes.queue.checkup.finding import Finding, Promise, Severity, error, ok, unknown, warning
from weighbridge.lanes.queue.checkup.fleet import fleet_findings
from weighbridge.lanes.queue.checkup.queues import QueueState, read_queues
from weighbridge.lanes.queue.checkup.rabbitmq import rabbitmq_findings
from weighbridge.lanes.queue.checkup.server import server_findings
from weighbridge.lanes.queue.checkup.server_reading import RoundTrip, measure, read_settings, with_surroundings
from weighbridge.lanes.queue.failure import Failure, is_brokers, unreached, unwritten
from weighbridge.lanes.queue.fingerprint import Fingerprint
from weighbridge.lanes.queue.patient_client import PatientClient
from weighbridge.lanes.queue.permissions import OPERATOR
from weighbridge.lanes.queue.register import Register, WorkerRecord
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.lanes.queue.writer_choice import writer_for

if TYPE_CHECKING:
    from weighbridge.lanes.queue.checkup.rabbitmq_reading import RabbitmqReading

#: Checks of which an error means that nothing else could be looked at.
REACH: Final = "reach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found. ``workers`` is ``None`` on a broker that keeps no register of them."""

    broker: str
    namespace: str | None = None
    reached: bool = False
    round_trip: RoundTrip | None = None
    findings: tuple[Finding, ...] = ()
    workers: tuple[WorkerRecord, ...] | None = None
    queues: tuple[QueueState, ...] = ()

    def worst(self) -> Severity:
        """The gravest severity among the findings."""
        order = list(Severity)
        return max((each.severity for each in self.findings), key=order.index, default=Severity.OK)

    def with_findings(self, *more: Finding) -> Examination:
        """The same with these findings at the end."""
        return replace(self, findings=(*self.findings, *more))


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What an app sends: its tasks that can be queued, the longest of their runs, the versions it runs on."""

    tasks: Sequence[Fingerprint]
    versions: Mapping[str, str]
    longest_run_s: float | None = None


def reach(broker: dramatiq.Broker, *, timeout_s: float) -> Examination:
    """Reach the broker, and write where it can be tried without effect. Blocks; each exchange takes ``timeout_s``."""
    return _examined(broker, timeout_s=timeout_s, app=None)


def examine(broker: dramatiq.Broker, *, app: App, timeout_s: float) -> Examination:
    """Reach the broker and look at all that can be looked at. Blocks; each exchange takes ``timeout_s`` at most."""
    return _examined(broker, timeout_s=timeout_s, app=app)


def broken_promises(broker: dramatiq.Broker, *, timeout_s: float) -> tuple[Finding, ...]:
    """What in the broker's settings breaks a promise; of the embedded server, which promises nothing, nothing.

    Two commands on a connection of their own. Raises what the broker's library raises if it cannot be reached.
    """
    found: tuple[Finding, ...] = ()
    client = getattr(broker, "client", None)
    if _is_rabbitmq(broker):
        found = rabbitmq_findings(_rabbitmq().known_without_asking(broker))
    elif isinstance(client, redis.Redis):
        with _patient(client, timeout_s=timeout_s) as patient:
            facts = read_settings(patient, _namespace_of(broker))
        found = () if facts.embedded else server_findings(facts)
    return tuple(each for each in found if each.severity is Severity.ERROR and each.breaks)


def _examined(broker: dramatiq.Broker, *, timeout_s: float, app: App | None) -> Examination:
    blank = Examination(broker=writer_for(broker).address)
    try:
        if _is_rabbitmq(broker):
            return _of_rabbitmq(broker, blank, timeout_s=timeout_s, app=app)
        if isinstance(getattr(broker, "client", None), redis.Redis):
            return _of_redis(broker, blank, timeout_s=timeout_s, app=app)
        return _of_another(broker, blank)
    except Exception as problem:
        if not is_brokers(problem):
            raise
        return blank.with_findings(_refused(REACH, unreached(problem, address=blank.broker)))


def _of_redis(broker: Any, blank: Examination, *, timeout_s: float, app: App | None) -> Examination:
    namespace = _namespace_of(broker)
    with _patient(broker.client, timeout_s=timeout_s) as client:
        client.ping()
        found = replace(blank, namespace=namespace, reached=True)
        try:
            found = replace(found, round_trip=measure(client, namespace))
            found = found.with_findings(ok("write", "a write was accepted"))
        except redis.ResponseError as problem:
            found = found.with_findings(_refused("write", unwritten(problem, address=blank.broker)))
        if app is None:
            return found
        facts = with_surroundings(read_settings(client, namespace), client, now_s=time.time)
        found = found.with_findings(*server_findings(facts))
        if not isinstance(broker, StreamsBroker):
            return found.with_findings(_STOCK_REDIS, *_nothing_of_workers(app))
        return _with_fleet(found, broker, client, app)


def _with_fleet(found: Examination, broker: StreamsBroker, client: redis.Redis, app: App) -> Examination:
    try:
        queues = read_queues(
            client,
            broker.namespace,
            declared={task.queue for task in app.tasks},
            dead_ttl_s=broker.dead_ttl_s,
        )
        workers = Register(client, broker.namespace).live()
    except redis.ResponseError as problem:
        text = f"queues and workers could not be looked at ({problem})"
        # Who names modules asks whether the workers know their tasks: that nobody could look is no answer to build on.
        finding = error("queues", text, remedy=OPERATOR) if app.tasks else unknown("queues", text, remedy=OPERATOR)
        return found.with_findings(finding)
    found = replace(found, queues=queues, workers=workers)
    return found.with_findings(*fleet_findings(app=app.tasks, workers=workers, queues=queues, versions=app.versions))


def _of_rabbitmq(broker: Any, blank: Examination, *, timeout_s: float, app: App | None) -> Examination:
    module = _rabbitmq()
    reading: RabbitmqReading = module.RabbitmqReading(broker, timeout_s=timeout_s)
    try:
        found = replace(blank, reached=True, round_trip=reading.measure())
        facts = module.known_without_asking(broker, longest_run_s=None if app is None else app.longest_run_s)
        findings = rabbitmq_findings(replace(facts, blocked=reading.blocked))
        if app is None:
            # What is asked is whether calls are taken at this moment; all else is for a full examination.
            return found.with_findings(*(each for each in findings if each.check == "alarm"))
        if reading.blocked:
            return found.with_findings(*findings)
        found = replace(found, queues=reading.queues({task.queue for task in app.tasks} | broker.get_declared_queues()))
        more = fleet_findings(app=app.tasks, workers=None, queues=found.queues, versions=app.versions)
        return found.with_findings(*findings, *more)
    finally:
        reading.close()


def _of_another(broker: dramatiq.Broker, blank: Examination) -> Examination:
    writer_for(broker).ping()
    text = f"{type(broker).__name__} is a broker of your own; what it promises cannot be looked at"
    return replace(blank, reached=True).with_findings(
        unknown("broker", text, remedy="see its documentation, and the table of brokers in the delivery contract")
    )


#: Dramatiq's own broker for Redis, passed in by the user.
_STOCK_REDIS: Final = warning(
    "broker",
    "Dramatiq's own RedisBroker: a killed worker's calls come back after many minutes, and a retry that cannot be "
    "written is lost",
    Promise.DEAD_WORKER,
    Promise.QUEUED_CALLS,
    remedy="set WEIGHBRIDGE_BROKER_URL instead of broker=, and weighbridge makes a broker of its own",
)


def _nothing_of_workers(app: App) -> tuple[Finding, ...]:
    return fleet_findings(app=app.tasks, workers=None, queues=(), versions=app.versions)


def _refused(check: str, failure: Failure) -> Finding:
    problem, _, remedy = failure.problem.partition("; ")
    return error(check, problem, remedy=remedy or "see the server's log")


def _namespace_of(broker: object) -> str:
    return str(getattr(broker, "namespace", "dramatiq"))


@contextmanager
def _patient(client: redis.Redis, *, timeout_s: float) -> Iterator[redis.Redis]:
    """Connections of its own, for the broker's give up within milliseconds."""
    patient = PatientClient(client, grace_s=timeout_s)
    try:
        yield patient.client
    finally:
        patient.close()


def _is_rabbitmq(broker: dramatiq.Broker) -> bool:
    if "dramatiq.brokers.rabbitmq" not in sys.modules:  # then this broker is none, and pika may not be installed
        return False
    from weighbridge.lanes.queue.rabbitmq import is_rabbitmq  # noqa: PLC0415  # needs pika

    return is_rabbitmq(broker)


def _rabbitmq() -> Any:
    from weighbridge.lanes.queue.checkup import rabbitmq_reading  # noqa: PLC0415  # needs pika

    return rabbitmq_reading
