"""Stands in for worker processes that cannot speak for themselves: those that are stuck, and those that are dead."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import redis

from weighbridge.events import emit
from weighbridge.lanes.queue.connect import ConnectedBroker, connect
from weighbridge.lanes.queue.keys import QueueKeys
from weighbridge.lanes.queue.patient_client import PatientClient
from weighbridge.lanes.queue.register import Register
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.stream_queue import StreamQueue
from weighbridge.worker.control import ExitCode, Member
from weighbridge.worker.process import ChildProcess, Ending
from weighbridge.worker.running_table import RunningCall, overdue

logger: Final = logging.getLogger("weighbridge.worker")

HUNG: Final = "worker.hung"
CALL_CRASHED: Final = "worker.call_crashed"
OFFERED_AGAIN: Final = "worker.offered_again"
GUARDIAN_WAITS: Final = "worker.guardian_waits"
GUARDIAN_REFUSED: Final = "worker.guardian_refused"

#: The share of a lease between two looks at the tables, and that after which a process counts as silent: a living one
#: gives a sign every third. Together they are less than a lease.
LOOK_SHARE: Final = 0.25
SILENT_SHARE: Final = 0.4
#: Seconds between two tries while the broker is away.
RETRY_S: Final = 0.5
#: Seconds at the end for the calls of processes that had to be killed; then their leases lapse by themselves.
FAREWELL_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Death:
    member: Member
    crashed: tuple[RunningCall, ...]


@dataclass(slots=True, kw_only=True)
class _Work:
    """What the thread has to do; under the guardian's lock."""

    children: dict[int, ChildProcess] = field(default_factory=dict)
    deaths: list[_Death] = field(default_factory=list)
    ended: bool = False


class Guardian:
    """Renews the leases of calls that run in a silent child, kills a hung one, and gives up what a dead one held.

    Only for children that have told as whom they take calls (see ``Member``). The supervisor's loop calls the methods,
    which do no I/O; a thread talks to the broker, and only if a child is silent or dead.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._work = _Work()
        self._hung: dict[int, tuple[RunningCall, ...]] = {}
        self._look_at_s: float | None = None
        self._brokers: dict[tuple[str, str], tuple[redis.Redis, PatientClient]] = {}
        self._waits = False
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="weighbridge-guardian", daemon=True)

    def watch(self, child: ChildProcess) -> None:
        """Stand in for this child from now on."""
        with self._changed:
            self._work.children[child.pid] = child
            if not self._thread.is_alive():
                self._thread.start()

    @property
    def next_look_s(self) -> float | None:
        """When :meth:`end_hung` wants to be called again, on the clock; ``None``: there is nobody to look at."""
        members = [child.member for child in self._work.children.values() if child.member is not None]
        if not members:
            return None
        if self._look_at_s is None:
            self._look_at_s = self._clock() + LOOK_SHARE * min(each.lease_s for each in members)
        return self._look_at_s

    def end_hung(self) -> None:
        """Kill children that are silent and run a call that should have ended by its time limit."""
        now_s = self._clock()
        if self._look_at_s is None or now_s < self._look_at_s:
            return
        self._look_at_s = None
        for child in list(self._work.children.values()):
            if child.member is None or child.pid in self._hung:
                continue
            lease_s = child.member.lease_s
            late = overdue(child.table.read(), now_s=now_s, margin_s=lease_s)
            if not late or now_s - child.table.beat_s < lease_s:
                continue
            self._hung[child.pid] = tuple(late)
            emit(
                logger,
                HUNG,
                level=logging.ERROR,
                number=child.number,
                pid=child.pid,
                task=late[0].task,
                call_id=late[0].call_id,
                silent_s=round(now_s - child.table.beat_s, 1),
            )
            child.kill()

    def bury(self, child: ChildProcess, ending: Ending, *, stopping: bool) -> bool:
        """This child has died. What it held is offered again, as soon as the broker can be told.

        Whether calls that it ran count as what ended it: those that were too late, if it was killed for that; none if
        it was stopping.
        """
        with self._changed:
            self._work.children.pop(child.pid, None)
            running = child.table.read()
            late = self._hung.pop(child.pid, None)
            crashed = running if late is None else [call for call in running if call in late]
            if stopping or child.table.is_stopping:
                crashed = []
            child.table.close()
            gone_cleanly = ending.code == ExitCode.CLEAN and not running
            if child.member is not None and not gone_cleanly:
                self._work.deaths.append(_Death(member=child.member, crashed=tuple(crashed)))
                self._changed.notify()
        for call in crashed:
            emit(
                logger,
                CALL_CRASHED,
                level=logging.ERROR,
                number=child.number,
                pid=child.pid,
                task=call.task,
                call_id=call.call_id,
            )
        return bool(crashed)

    def close(self) -> None:
        """Give up what the last children held, and end; after 2 s at most."""
        with self._changed:
            self._work.ended = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(FAREWELL_S)

    # -- on the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                deaths = list(self._work.deaths)
                if self._work.ended and not deaths:
                    break
                if not deaths:
                    self._changed.wait(self._pause_s())
                deaths = list(self._work.deaths)
                silent = self._silent()
            if not self._tell(deaths, silent):
                with self._changed:
                    self._changed.wait(RETRY_S)
        for client, patient in self._brokers.values():
            patient.close()
            client.close()

    def _pause_s(self) -> float | None:
        leases = [child.member.lease_s for child in self._work.children.values() if child.member is not None]
        return LOOK_SHARE * min(leases, default=1 / LOOK_SHARE)

    def _silent(self) -> list[tuple[Member, list[RunningCall]]]:
        """The calls that still have time in children that give no sign of life."""
        now_s = self._clock()
        found = []
        for child in self._work.children.values():
            member = child.member
            if member is None or now_s - child.table.beat_s < SILENT_SHARE * member.lease_s:
                continue
            running = child.table.read()
            late = overdue(running, now_s=now_s, margin_s=member.lease_s)
            in_time = [call for call in running if call not in late]
            if in_time:
                found.append((member, in_time))
        return found

    def _tell(self, deaths: Iterable[_Death], silent: Iterable[tuple[Member, list[RunningCall]]]) -> bool:
        """Whether the broker was there to be told."""
        try:
            for member, calls in silent:
                self._renew(member, calls)
            for death in deaths:
                self._settle(death)
        except (redis.RedisError, OSError) as error:
            if not self._waits:
                emit(logger, GUARDIAN_WAITS, level=logging.WARNING, problem=type(error).__name__)
            self._waits = True
            return False
        except Exception as error:  # noqa: BLE001  # leases lapse without this thread too; the supervisor goes on
            self._refused(error)
            return False
        self._waits = False
        return True

    def _renew(self, member: Member, calls: list[RunningCall]) -> None:
        try:
            for name in {call.queue for call in calls}:
                self._queue(member, name).renew([call.entry_id for call in calls if call.queue == name])
        except redis.ResponseError as error:
            if not _is_lasting(error):
                raise
            self._refused(error)

    def _settle(self, death: _Death) -> None:
        """Tell of a death, or note that it will not be heard of; a refusal that may pass is raised."""
        try:
            self._disown(death)
        except Exception as error:
            if isinstance(error, OSError | redis.RedisError) and not _is_lasting(error):
                raise
            self._refused(error)
        with self._changed:
            self._work.deaths.remove(death)

    def _refused(self, error: Exception) -> None:
        if str(error) in self._told:
            return
        self._told.add(str(error))
        emit(logger, GUARDIAN_REFUSED, level=logging.ERROR, problem=f"{type(error).__name__}: {error}")

    def _disown(self, death: _Death) -> None:
        calls = 0
        for name in death.member.queues:
            crashed = [call.entry_id for call in death.crashed if call.queue == name]
            calls += self._queue(death.member, name).disown(crashed)
        if calls:
            emit(logger, OFFERED_AGAIN, level=logging.WARNING, consumer=death.member.consumer, calls=calls)
        # Or it counts as live for a minute. Who may not write the register was told so by the process itself.
        with contextlib.suppress(redis.ResponseError):
            Register(self._client(death.member), death.member.namespace).leave(death.member.consumer)

    def _queue(self, member: Member, name: str) -> StreamQueue:
        client = self._client(member)
        keys = QueueKeys(namespace=member.namespace, queue=name)
        return StreamQueue(client=client, scripts=Scripts(client), keys=keys, consumer=member.consumer)

    def _client(self, member: Member) -> redis.Redis:
        place = (member.address, member.namespace)
        if place not in self._brokers:
            broker = connect(member.address, namespace=member.namespace, timeout_s=member.timeout_s)
            assert isinstance(broker, ConnectedBroker), "a child tells only of brokers of this kind"
            self._brokers[place] = (broker.client, PatientClient(broker.client))
        return self._brokers[place][1].client


def _is_lasting(error: Exception) -> bool:
    """Whether the server will give the same answer again: not while it is read-only, full, loading or fails over."""
    return isinstance(error, redis.exceptions.NoPermissionError) or "WRONGTYPE" in str(error)
