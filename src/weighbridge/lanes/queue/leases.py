"""The messages of one queue that this process holds: what it has fetched and not settled yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from weighbridge.lanes.queue.solo import Solo
from weighbridge.lanes.queue.stream_message import Entry, StreamMessage
from weighbridge.lanes.queue.stream_queue import StreamQueue, Write

#: Seconds for which room is gathered if the last fetch is not longer ago than ``BUSY_S``: short calls end one by one,
#: and a fetch for each costs more than they do. Calls that take longer than some milliseconds do not wait for this.
GATHER_S: Final = 0.0005
BUSY_S: Final = 0.003


@dataclass(slots=True, kw_only=True)
class _Lease:
    confirmed_s: float
    message_id: str | None = None
    follow_ups: list[Write] = field(default_factory=list)
    settling: bool = False
    refused: bool = False
    lost: bool = False
    forsaken: bool = False


class Leases:
    """What this process holds of one queue. Thread-safe, and outlives the consumer that fetched it.

    Dramatiq makes a new consumer after each lost connection, while its threads go on with what the old one had
    fetched; so the leases belong to the broker.
    """

    def __init__(self, queue: StreamQueue, *, solo: Solo | None = None) -> None:
        self.queue = queue
        self._solo = Solo() if solo is None else solo
        #: Before this time (monotonic seconds) nothing is taken over from others: see :meth:`trouble`.
        self.no_claims_before_s = 0.0
        self._room_given_s = 0.0
        self._held: dict[str, _Lease] = {}
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._held

    def ids(self) -> list[str]:
        """The ids of the entries that are held."""
        with self._lock:
            return list(self._held)

    def take(self, entries: Iterable[Entry], *, at_s: float) -> None:
        """These entries are held from now on, by an answer that was asked for at ``at_s`` (monotonic seconds)."""
        with self._lock:
            for entry in entries:
                self._held.setdefault(entry.id, _Lease(confirmed_s=at_s))

    def renewed(self, entry_ids: Iterable[str], *, lost: Iterable[str], at_s: float) -> None:
        """The server was asked at ``at_s`` to renew these, and has said which of them are lost."""
        lost = set(lost)
        with self._lock:
            for entry_id in entry_ids:
                lease = self._held.get(entry_id)
                if lease is None:
                    continue
                lease.lost = entry_id in lost
                if not lease.lost:
                    lease.confirmed_s = at_s

    def is_sure(self, entry_id: str, *, within_s: float) -> bool:
        """Whether the lease is certainly this process's: the server has confirmed it in the last ``within_s`` seconds.

        If that is longer ago (the process was stopped, or a task held the interpreter) the server is asked, and the
        lease renewed. :raises redis.RedisError: if it does not answer.
        """
        with self._lock:
            lease = self._held.get(entry_id)
            if lease is None:
                return False
            now_s = time.monotonic()
            if not lease.lost and now_s - lease.confirmed_s <= within_s:
                return True
        lost = self.queue.renew([entry_id])
        self.renewed([entry_id], lost=lost, at_s=now_s)
        return not lost

    def forsake(self, entry_id: str) -> None:
        """It is not run here, and its end here is not the server's business: another worker has it, or will."""
        with self._lock:
            lease = self._held.get(entry_id)
            if lease is not None:
                lease.forsaken = True

    def is_forsaken(self, entry_id: str) -> bool:
        """Whether :meth:`forsake` was said of it."""
        with self._lock:
            lease = self._held.get(entry_id)
            return lease is not None and lease.forsaken

    def name(self, entry_id: str, *, message_id: str) -> None:
        """The entry turned out to be this message."""
        with self._lock:
            lease = self._held.get(entry_id)
            if lease is not None:
                lease.message_id = message_id

    def release(self, entry_ids: Iterable[str]) -> None:
        """These entries are not held any more; wakes the consumer if it was at its limit."""
        entry_ids = list(entry_ids)
        with self._lock:
            for entry_id in entry_ids:
                self._held.pop(entry_id, None)
            self._settled.notify_all()
        self._solo.leave((self.queue.name, entry_id) for entry_id in entry_ids)

    def add_follow_up(self, message: object, write: Write, *, message_id: str) -> bool:
        """Keep what is to be written when the message that is held under this id is settled.

        ``False`` if this process does not hold it, or is settling it already.
        """
        with self._lock:
            if isinstance(message, StreamMessage):
                lease = self._held.get(message.entry_id)
            else:
                named = (each for each in self._held.values() if each.message_id == message_id and not each.settling)
                lease = next(named, None)
            if lease is None or lease.settling:
                return False
            lease.follow_ups.append(write)
            return True

    def is_settling(self, entry_id: str) -> bool:
        """Whether its end was sent to the server; the answer, if it came, is not counted yet."""
        with self._lock:
            lease = self._held.get(entry_id)
            return lease is not None and lease.settling

    def settle(self, entry_id: str) -> list[Write]:
        """What is to be written with the end of this entry; from now on nothing is added to it."""
        with self._lock:
            lease = self._held.get(entry_id)
            if lease is None:
                return []
            lease.settling = True
            return list(lease.follow_ups)

    def refuse(self, entry_id: str) -> bool:
        """The server has refused the end of this entry; ``True`` for the first time."""
        with self._lock:
            lease = self._held.get(entry_id)
            first = lease is None or not lease.refused
            if lease is not None:
                lease.refused = True
            return first

    def wait_for_room(self, limit: int, *, timeout_s: float) -> int:
        """How many more entries may be held; waits until there is room for one, or for ``timeout_s`` seconds.

        Less room than half of ``limit`` so soon after the last answer that calls must be short is let grow a little.
        """
        with self._lock:
            self._settled.wait_for(lambda: len(self._held) < limit, timeout_s)
        room = limit - len(self._held)
        if 0 < room < limit // 2 and time.monotonic() - self._room_given_s < BUSY_S:
            time.sleep(GATHER_S)
            room = limit - len(self._held)
        self._room_given_s = time.monotonic()
        return max(0, room)

    def trouble(self, *, lease_s: float) -> None:
        """The server could not be reached: others could not renew their leases either, so they get the time to.

        Without this, the first worker to come back after an outage longer than a lease would run again what all
        others are still running.
        """
        self.no_claims_before_s = time.monotonic() + lease_s
