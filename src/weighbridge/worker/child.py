"""One worker process: imports the tasks' modules and runs Dramatiq's own worker until it is told to stop.

``python -m weighbridge.worker.child SHARE OPTIONS CHANNEL TABLE`` is for the supervisor alone; SHARE (``heavy``,
``other``, ``all``) stands there for those who look at the list of processes. A child stops at
SIGTERM and when its supervisor is gone, however often it hears of it, and does not mind SIGINT: Ctrl-C and
systemd reach the whole service at once, and the supervisor's word comes all the same.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import Final

import dramatiq

from weighbridge.constraint import Constraint, constraint_of
from weighbridge.decision import Lane
from weighbridge.errors import ModuleError, SettingsError, WeighbridgeError, WorkerError
from weighbridge.events import emit
from weighbridge.lanes.queue import TypedActor
from weighbridge.lanes.queue.checkup import StartCheck
from weighbridge.lanes.queue.connect import ConnectedBroker
from weighbridge.settings import Settings
from weighbridge.task import TaskSpec, registry
from weighbridge.worker.control import GIVE_BACK_S, Channel, ChildOptions, ExitCode, Member, Prepared, Ready, Refused
from weighbridge.worker.lifespan import Lifespan, LifespanError, end_start, lifespan_of, require_event_loop
from weighbridge.worker.logs import hide_arguments, log_to_stderr, take_over_consumer_failures
from weighbridge.worker.modules import explained, find_dispatcher, import_modules, put_current_directory_first
from weighbridge.worker.plan import Queues
from weighbridge.worker.reach import Contact, refusal_of
from weighbridge.worker.registration import registration_of
from weighbridge.worker.running import RunningCalls
from weighbridge.worker.running_table import RunningTable
from weighbridge.worker.signals import SignalInbox

logger: Final = logging.getLogger("weighbridge.worker")

SUPERVISOR_GONE: Final = "worker.supervisor_gone"
CALL_CUT_OFF: Final = "worker.call_cut_off"
FORKS_NOT_RUN: Final = "worker.forks_not_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a child has found to do: a broker with its actors bound, and how it describes itself."""

    broker: dramatiq.Broker
    settings: Settings
    known: Queues
    lifespan: Lifespan | None
    ready: Ready

    @property
    def takes_a_part(self) -> bool:
        """Whether there are queues that other processes work on."""
        return len(self.ready.queues) < len(self.known.heavy + self.known.other)


def prepare(options: ChildOptions) -> Work:
    """Import the modules, find the dispatcher and bind the actors.

    :raises WeighbridgeError: if the worker cannot work as configured; every start would end like this.
    """
    names = options.modules or Settings().modules
    if not names:
        raise SettingsError(
            setting="modules",
            problem="is empty, and no module was named",
            remedy="name those that declare tasks (weighbridge worker app.tasks), or set WEIGHBRIDGE_MODULES",
        )
    modules = import_modules(names)
    dispatcher, place = find_dispatcher(modules, chosen=options.dispatcher)
    constraints = {spec: constraint_of(spec) for spec in registry}
    broker = dispatcher.worker_broker()
    if not broker.get_declared_actors():
        raise _no_task(names, constraints)
    known = _queues_of(broker)
    queues = _checked_queues(options.queues, known=known) or known.of_share(options.share)
    tasks = sum(actor.queue_name in queues for actor in broker.actors.values())
    staying = sum(each is not None and each.lane is Lane.IN_PROCESS for each in constraints.values())
    ready = Ready(queues=queues, threads=options.threads, tasks=tasks, in_process_only=staying, dispatcher=place)
    lifespan = lifespan_of(dispatcher.worker_lifespan, broker)
    return Work(broker=broker, settings=dispatcher.settings, known=known, lifespan=lifespan, ready=ready)


def run(options: ChildOptions, channel: Channel, table: RunningTable) -> ExitCode:
    """The life of a child, from the imports to the end of its last call."""
    signal.signal(signal.SIGINT, _leave_it_to_the_supervisor)
    put_current_directory_first()
    try:
        work = prepare(options)
    except WeighbridgeError as error:
        channel.send(Refused(reason=explained(error)))
        return ExitCode.REFUSED
    refusal = refusal_of(work.broker)
    if refusal is not None:
        channel.send(Refused(reason=refusal))
        return ExitCode.REFUSED
    channel.send(Prepared(heavy=work.known.heavy, other=work.known.other))
    log_to_stderr()  # only now, so that a module that configures logging when it is imported goes first
    hide_arguments(work.broker)
    contact = Contact(work.broker, settings=work.settings)
    take_over_consumer_failures(work.broker, contact.consumer_failed)
    registration = registration_of(work.broker, queues=work.ready.queues, threads=options.threads)
    running = RunningCalls(table)
    # The first middleware hears of a call's start before all others and of its end after them.
    work.broker.add_middleware(running, before=next((type(each) for each in work.broker.middleware), None))
    if any(each.forks for each in work.broker.middleware):
        emit(
            logger,
            FORKS_NOT_RUN,
            level=logging.WARNING,
            remedy="start what a middleware forks as a service of its own",
        )
    # Until here SIGTERM ends the process at once, as it should: nothing has been fetched. When all is done the
    # interpreter takes its time to go, and SIGTERM may come twice: it must not look as if the process was cut off.
    with SignalInbox([signal.SIGTERM], clock=time.monotonic, afterwards=signal.SIG_IGN) as inbox:
        # No names if it takes all: then it takes those too that are declared later.
        named = set(work.ready.queues) if work.takes_a_part else None
        worker = dramatiq.Worker(work.broker, queues=named, worker_threads=options.threads)
        _let_the_supervisor_stand_in(work, channel, table)
        work.broker.emit_after("process_boot")
        try:
            worker.start()
        except LifespanError as error:
            end_start(worker)
            channel.send(Refused(reason=str(error)))
            return ExitCode.REFUSED
        require_event_loop(work.broker)
        channel.send(work.ready)
        contact.start()
        start_check = StartCheck(work.broker)
        start_check.start()
        if registration is not None:
            registration.start()
        _wait_for_the_end(inbox, channel)
        contact.stop()
        start_check.stop()
        if registration is not None:
            registration.stop()
        code = _stop(worker, running, grace_s=options.grace_s)
        return ExitCode.CUT_OFF if work.lifespan is not None and work.lifespan.failed else code


def _let_the_supervisor_stand_in(work: Work, channel: Channel, table: RunningTable) -> None:
    """Tell it as whom this process takes calls, before there are any."""
    broker = work.broker
    if not isinstance(broker, ConnectedBroker):
        return
    broker.pulse = table.beat
    channel.send(
        Member(
            address=broker.address,
            namespace=broker.namespace,
            consumer=broker.consumer_name,
            queues=work.ready.queues,
            lease_s=broker.lease_s,
            timeout_s=work.settings.enqueue_timeout_s,
        )
    )


def _wait_for_the_end(inbox: SignalInbox, channel: Channel) -> None:
    with selectors.DefaultSelector() as selector:  # select() itself takes no descriptor from 1,024 on
        for fileno in (inbox.fileno(), channel.fileno()):
            selector.register(fileno, selectors.EVENT_READ)
        while not channel.ended:
            selector.select()
            if inbox.take():
                return
            channel.receive()
    emit(logger, SUPERVISOR_GONE, level=logging.WARNING, remedy="this process stops; start the worker again")


def _stop(worker: dramatiq.Worker, running: RunningCalls, *, grace_s: float) -> ExitCode:
    """Let the running calls end within the grace period, give back the others, and name what was cut off."""
    running.stop()
    # The last resort if no supervisor is left to kill this process; it needs no interpreter lock.
    faulthandler.dump_traceback_later(grace_s + 2 * GIVE_BACK_S, exit=True)
    worker.stop(timeout=int(grace_s * 1000))
    cut_off = running.names()
    for call_id, task in cut_off.items():
        emit(logger, CALL_CUT_OFF, level=logging.ERROR, task=task, call_id=call_id, grace_s=grace_s)
    worker.broker.close()
    return ExitCode.CUT_OFF if cut_off else ExitCode.CLEAN


def _queues_of(broker: dramatiq.Broker) -> Queues:
    weights: dict[str, list[float]] = {name: [] for name in broker.get_declared_queues()}
    for actor in broker.actors.values():
        weight = actor.spec.weight if isinstance(actor, TypedActor) else 0.0
        if isinstance(weight, int | float):  # of a weight that each call has of its own, nothing is known
            weights[actor.queue_name].append(weight)
    return Queues.of(weights)


def _checked_queues(asked: tuple[str, ...], *, known: Queues) -> tuple[str, ...]:
    names = sorted(known.heavy + known.other)
    for queue in asked:
        if queue not in names:
            shown = ", ".join(names)
            raise WorkerError(reason=f"--queue names {queue!r}, a queue of no task; the queues are: {shown}")
    return tuple(sorted(asked))


def _no_task(names: tuple[str, ...], constraints: dict[TaskSpec, Constraint | None]) -> ModuleError:
    staying = [f"{spec.name} {constraint.reason}" for spec, constraint in constraints.items() if constraint]
    found = f" ({'; '.join(staying[:5])}{'; …' if len(staying) > 5 else ''})" if staying else ""  # noqa: PLR2004
    return ModuleError(
        module=", ".join(names),
        problem=f"declares no task that can be queued{found}",
        remedy="name the modules whose functions carry @task and can run in another process",
    )


def _leave_it_to_the_supervisor(signum: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which the programs that a task starts would inherit."""


def main() -> int:
    """Run one child with the options and the descriptor of the command line."""
    _, _, options_json, channel_fd, table_fd = sys.argv
    options = ChildOptions.from_json(options_json)
    table = RunningTable.attach(int(table_fd), slots=options.threads)
    with Channel(socket.socket(fileno=int(channel_fd))) as channel:
        try:
            return run(options, channel, table)
        except Exception:  # noqa: BLE001  # a thread that cannot be started, above all
            # The event loop's thread would keep this process alive for ever, and its consumers would go on fetching
            # calls that nobody runs. The supervisor offers again what they have fetched, and starts another process.
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(ExitCode.CUT_OFF)


if __name__ == "__main__":
    sys.exit(main())
