"""The supervisor: starts the worker processes, replaces those that die, and stops them all in good order."""

from __future__ import annotations

import logging
import math
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from weighbridge.errors import WorkerError
from weighbridge.events import emit
from weighbridge.worker.control import GIVE_BACK_S, ChildOptions, ExitCode, Member, Prepared, Ready, Refused, Share
from weighbridge.worker.guardian import Guardian
from weighbridge.worker.place import Place
from weighbridge.worker.plan import Plan
from weighbridge.worker.process import ChildProcess, Ending
from weighbridge.worker.signals import SignalInbox, StopSignals, Wish

logger: Final = logging.getLogger("weighbridge.worker")

STARTING: Final = "worker.starting"
READY: Final = "worker.ready"
DIED: Final = "worker.died"
NOT_STARTED: Final = "worker.not_started"
STOPPING: Final = "worker.stopping"
ENDED: Final = "worker.ended"
KILLED: Final = "worker.killed"
STOPPED: Final = "worker.stopped"

DEFAULT_GRACE_S: Final = 30.0


def available_cpus() -> int:
    """The CPUs that this process may use by its affinity. A container's CPU quota is not looked at."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def supervise(
    *,
    modules: Sequence[str] = (),
    dispatcher: str | None = None,
    queues: Sequence[str] = (),
    processes: int | None = None,
    threads: int | None = None,
    grace_s: float = DEFAULT_GRACE_S,
) -> ExitCode:
    """Run worker processes until SIGTERM or SIGINT; only in the main thread of a process of its own.

    :param modules: Modules that declare tasks; empty: the setting ``modules``.
    :param dispatcher: ``module:name`` of the dispatcher, if the modules hold several.
    :param queues: The queues to work on, in each process; empty: all, divided as ``plan.py`` says.
    :param processes: Worker processes; ``None``: by the available CPUs.
    :param threads: Threads in each process, so calls that run there at one time; ``None``: 8, for heavy queues 2.
    :param grace_s: Seconds that running calls get at the end.
    :returns: ``CLEAN``, or ``CUT_OFF`` if a call or a process had to be cut off at the end.
    :raises WorkerError: if a worker process cannot work as configured, and on Windows.
    """
    if sys.platform == "win32":
        raise WorkerError(
            reason="weighbridge worker does not run on Windows, which cannot ask a process to finish; "
            "run it in WSL or in a container"
        )
    options = ChildOptions(
        modules=tuple(modules), dispatcher=dispatcher, queues=tuple(queues), threads=threads or 0, grace_s=grace_s
    )
    plan = Plan(options=options, processes=processes, threads=threads, cpus=available_cpus())
    return Supervisor(plan, clock=time.monotonic).run()


class Supervisor:
    """One loop in one thread over signals, children's messages and deadlines.

    The first child tells which queues there are, and thereby which other children there are to be.
    """

    def __init__(self, plan: Plan, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._plan = plan
        self._places: list[Place] = []
        self._fill(plan.at_first())
        self._grace_s = plan.options.grace_s
        self._guardian = Guardian(clock=clock)
        self._selector = selectors.DefaultSelector()
        self._stop_signals = StopSignals()
        self._kill_at_s: float | None = None
        self._stopping = False
        self._refusal: str | None = None
        self._announced = False
        self._outcome = ExitCode.CLEAN

    def run(self) -> ExitCode:
        """Supervise until all children have ended after a stop.

        :raises WorkerError: with a child's own words, if it cannot work as configured.
        """
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        with self._selector, SignalInbox(signals, clock=self._clock) as inbox:
            self._selector.register(inbox.fileno(), selectors.EVENT_READ)
            while True:
                self._start_due()
                self._kill_overdue()
                self._guardian.end_hung()
                if self._stopping and not self._children():
                    break
                self._wait()
                for signum, heard_s in inbox.take():
                    if signum is not signal.SIGCHLD:
                        self._obey(signum, heard_s)
                for child in self._children():
                    self._listen(child)
                self._bury()
        self._guardian.close()
        if self._refusal is not None:
            raise WorkerError(reason=self._refusal)
        emit(logger, STOPPED, pid=os.getpid(), outcome=self._outcome.name.lower())
        return self._outcome

    def _fill(self, children: Sequence[ChildOptions]) -> None:
        """Make a place for each of these; those that are there already stay, and their next child does as told now."""
        now_s = self._clock()
        for number, options in enumerate(children, start=1):
            if number > len(self._places):
                self._places.append(Place(number=number, options=options, start_at_s=now_s))
            self._places[number - 1].options = options

    def _announce(self, found: Prepared) -> None:
        """Say that work starts: not before a child has shown that it can, so that a refusal comes first."""
        if self._announced or self._stopping:
            return
        self._announced = True
        self._fill(self._plan.in_all(both_kinds=bool(found.heavy and found.other)))
        heavy = [place.options for place in self._places if place.options.share is Share.HEAVY]
        emit(
            logger,
            STARTING,
            pid=os.getpid(),
            processes=len(self._places),
            threads=self._places[0].options.threads,
            heavy_processes=len(heavy),
            heavy_threads=heavy[0].threads if heavy else 0,
            heavy_queues=",".join(found.heavy) if heavy else "-",
        )

    def _children(self) -> list[ChildProcess]:
        return [place.child for place in self._places if place.child is not None]

    def _wait(self) -> None:
        """Until a signal, a message, or the next deadline."""
        deadlines = [place.start_at_s for place in self._places if place.start_at_s is not None]
        if self._guardian.next_look_s is not None:
            deadlines.append(self._guardian.next_look_s)
        if self._kill_at_s is not None:
            deadlines.append(self._kill_at_s)
        self._selector.select(max(0.0, min(deadlines) - self._clock()) if deadlines else None)

    # -- children come ---------------------------------------------------------------------------------------

    def _start_due(self) -> None:
        for place in self._places:
            if place.start_at_s is not None and place.start_at_s <= self._clock():
                self._start(place)

    def _start(self, place: Place) -> None:
        try:
            child = ChildProcess.start(place.options, number=place.number, now_s=self._clock())
        except OSError as error:  # out of processes, descriptors or memory: that may pass
            delay_s = place.start_later(now_s=self._clock(), lived_s=0.0)
            number = place.number
            emit(logger, NOT_STARTED, level=logging.ERROR, number=number, problem=error, again_in_s=delay_s)
            return
        place.start_at_s = None
        place.child = child
        self._guardian.watch(child)
        self._selector.register(child.channel.fileno(), selectors.EVENT_READ)

    def _listen(self, child: ChildProcess) -> None:
        if child.channel.ended:
            return
        for message in child.messages():
            match message:
                case Prepared():
                    self._announce(message)
                case Member():
                    pass  # the child keeps it for the guardian
                case Ready():
                    child.ready = True
                    emit(
                        logger,
                        READY,
                        number=child.number,
                        pid=child.pid,
                        queues=",".join(message.queues),
                        threads=message.threads,
                        tasks=message.tasks,
                        in_process_only=message.in_process_only,
                        dispatcher=message.dispatcher,
                    )
                case Refused():
                    self._refusal = self._refusal or message.reason
                    self._stop()
                case _ as never:
                    assert_never(never)
        if child.channel.ended:
            self._selector.unregister(child.channel.fileno())

    # -- children go -----------------------------------------------------------------------------------------

    def _bury(self) -> None:
        for place in self._places:
            child = place.child
            ending = None if child is None else child.ending()
            if child is None or ending is None:
                continue
            self._listen(child)  # its last words may have come after the last look
            if not child.channel.ended:
                self._selector.unregister(child.channel.fileno())
            child.channel.close()
            place.child = None
            crashed = self._guardian.bury(child, ending, stopping=self._stopping)
            if self._stopping:
                self._note_end(child, ending)
            else:
                # A call that ends its process is run three times at most: no cause to keep the others waiting.
                lived_s = math.inf if crashed else self._clock() - child.started_s
                delay_s = place.start_later(now_s=self._clock(), lived_s=lived_s)
                emit(
                    logger,
                    DIED,
                    level=logging.WARNING if ending.code == ExitCode.CLEAN else logging.ERROR,
                    number=child.number,
                    pid=child.pid,
                    ending=f"{str(ending)!r}",
                    again_in_s=delay_s,
                )

    def _note_end(self, child: ChildProcess, ending: Ending) -> None:
        if self._refusal is not None and not child.ready:
            return  # the refusal, raised once for all, says it
        clean = child.stopped_cleanly(ending)
        if not clean:
            self._outcome = ExitCode.CUT_OFF
        emit(
            logger,
            ENDED,
            level=logging.INFO if clean else logging.ERROR,
            number=child.number,
            pid=child.pid,
            ending=f"{str(ending)!r}",
        )

    # -- stopping --------------------------------------------------------------------------------------------

    def _obey(self, signum: signal.Signals, heard_s: float) -> None:
        match self._stop_signals.heard(heard_s):
            case Wish.STOP:
                count = len(self._children())
                emit(logger, STOPPING, signal=signum.name, processes=count, grace_s=self._grace_s)
                self._stop()
            case Wish.IGNORE:
                pass  # the same wish, heard twice: Ctrl-C and systemd signal whole groups
            case Wish.FORCE:
                self._kill(f"{signum.name} once more")
            case _ as never:
                assert_never(never)

    def _stop(self) -> None:
        """Ask every child to stop, once."""
        if self._stopping:
            return
        self._stopping = True
        self._kill_at_s = self._clock() + self._grace_s + GIVE_BACK_S
        for place in self._places:
            place.start_at_s = None
            if place.child is not None:
                place.child.stop()

    def _kill_overdue(self) -> None:
        if self._kill_at_s is not None and self._clock() >= self._kill_at_s:
            self._kill("grace period over")

    def _kill(self, reason: str) -> None:
        self._kill_at_s = None
        for child in self._children():
            emit(logger, KILLED, level=logging.ERROR, number=child.number, pid=child.pid, reason=f"{reason!r}")
            child.kill()
