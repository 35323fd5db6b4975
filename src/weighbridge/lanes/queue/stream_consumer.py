"""The consumer of one queue: fetches messages for Dramatiq's worker, and settles what the worker has done."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, assert_never

import dramatiq
import redis
from dramatiq.errors import ConnectionClosed

from weighbridge.events import emit
from weighbridge.lanes.queue.dead_letters import letter_for
from weighbridge.lanes.queue.exchange import Exchange
from weighbridge.lanes.queue.keeper import LEASE_LOST, Keeper
from weighbridge.lanes.queue.leases import Leases
from weighbridge.lanes.queue.patient_client import PatientClient
from weighbridge.lanes.queue.solo import Admission, Solo
from weighbridge.lanes.queue.stream_message import Entry, StreamMessage, ours
from weighbridge.lanes.queue.stream_queue import Letter, is_group_missing
from weighbridge.lanes.queue.triage import Postponed, Triage
from weighbridge.lanes.queue.unknown_task import PATIENCE_MS

logger: Final = logging.getLogger("weighbridge.queue")

TAKEN_OVER: Final = "queue.taken_over"
RUNS_ALONE: Final = "queue.runs_alone"
UNKNOWN_TASK: Final = "queue.unknown_task"
DEAD_LETTER: Final = "queue.dead_letter"
END_REFUSED: Final = "queue.end_refused"


class StreamConsumer(dramatiq.Consumer):
    """Dramatiq's consumer of one queue.

    One thread iterates; ``ack``, ``nack`` and ``requeue`` may come from any. Every failure of the server is raised
    as Dramatiq's ``ConnectionClosed``, whatever it was: Dramatiq's worker repeats a failed ``ack`` or ``nack`` until
    it succeeds, and makes a new consumer after a failed fetch. Leases are kept meanwhile, by the keeper.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        keeper: Keeper,
        solo: Solo,
        reader: PatientClient,
        triage: Triage,
        prefetch: int,
        lease_s: float,
    ) -> None:
        self._leases = leases
        self._queue = leases.queue
        self._keeper = keeper
        self._solo = solo
        self._reader = reader
        self._reading = Exchange(reader.client)
        self._triage = triage
        self._prefetch = prefetch
        self._lease_s = lease_s
        self._fetched: deque[Entry] = deque()
        self._aside: deque[Entry] = deque()
        self._recovered = False
        self._broken = False
        # After an outage a new consumer may come before others have renewed their leases. Orphans it takes at once.
        self._claim_at_s = time.monotonic() + lease_s / 5
        self._claim_orphans_at_s = 0.0

    def __next__(self) -> dramatiq.MessageProxy | None:
        """The next message; ``None`` if none came within the time-out, at the latest, or no more may be held."""
        try:
            return self._next(time.monotonic() + self._reader.block_s)
        except redis.RedisError as error:
            raise self._translated(error) from error

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """Take a message away, and write its retry, if there is one, in the same step."""
        self._settle(ours(message), letter=None)

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """Make a message a dead letter."""
        message = ours(message)
        self._settle(message, letter=letter_for(message, ttl_s=self._triage.dead_ttl_s))

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """Give back messages that were not started: to the end of the queue, where any worker gets them at once."""
        self._give_back([ours(message).entry_id for message in messages])

    def close(self) -> None:
        """Give back what was fetched and not handed to the worker, and leave the group if nothing is held."""
        fetched = [entry.id for entry in (*self._fetched, *self._aside)]
        self._fetched.clear()
        self._aside.clear()
        try:
            if self._broken:  # the next consumer recovers them, or another worker takes them over
                self._leases.release(fetched)
            else:
                self._give_back(fetched)
                self._queue.retire(self._queue.consumer)
        except redis.RedisError as error:
            raise self._translated(error) from error
        finally:
            self._reading.let_go()
            self._reader.close()

    def _translated(self, error: redis.RedisError) -> ConnectionClosed:
        self._broken = True
        self._leases.trouble(lease_s=self._lease_s)
        return ConnectionClosed(f"{type(error).__name__}: {error}")  # type: ignore[no-untyped-call]  # not typed there

    def _next(self, deadline_s: float) -> StreamMessage | None:
        while True:
            self._fetched.extendleft(reversed(self._aside))
            self._aside.clear()
            while self._fetched:
                admission = self._admission(self._fetched[0], timeout_s=max(0.0, deadline_s - time.monotonic()))
                if admission is Admission.CLOSED:
                    self._give_back_ordinary()
                    return None
                entry = self._fetched.popleft()
                if admission is Admission.LATER:
                    self._aside.append(entry)
                    continue
                message = self._opened(entry)
                if message is not None:
                    return message
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._solo.wait_until_open(timeout_s=left_s):
                return None
            left_s = deadline_s - time.monotonic()
            room = self._leases.wait_for_room(self._prefetch, timeout_s=left_s)
            if room and not self._fetch(room, within_s=left_s):
                return None  # not another read for what is left: each look for dead workers would cost one more

    def _fetch(self, room: int, *, within_s: float) -> bool:
        """Fill up with entries of dead workers, and with new ones; waits for those. ``False``: in vain."""
        try:
            if not self._recovered:
                self._recover()
            self._claim(room)
            if self._fetched:
                return True
            until_claim_s = max(0.0, self._claim_at_s - time.monotonic())
            asked_s = time.monotonic()
            entries = self._queue.read(self._reading, count=room, block_s=min(within_s, until_claim_s))
            self._keep([entry for entry in entries if entry.id not in self._leases], at_s=asked_s)
            return bool(entries)
        except redis.ResponseError as error:
            if not is_group_missing(error):
                raise
            self._queue.create_group()
            return True

    def _recover(self) -> None:
        """What the server says this process holds and it does not: the reply that brought it was lost.

        What is held is asked for first: an entry that a thread settles meanwhile is not in the server's answer.
        """
        held = set(self._leases.ids())
        asked_s = time.monotonic()
        self._keep([entry for entry in self._queue.unfinished() if entry.id not in held], at_s=asked_s)
        self._recovered = True

    def _claim(self, room: int) -> None:
        """Take over what no living worker holds any more, if it is time to look for that."""
        now_s = time.monotonic()
        self._claim_at_s = max(self._claim_at_s, self._leases.no_claims_before_s)
        if now_s < min(self._claim_at_s, self._claim_orphans_at_s):
            return
        orphans_only = now_s < self._claim_at_s
        held = set(self._leases.ids())  # first, as in _recover
        claimed = self._queue.claim(count=room, idle_s=self._lease_s, orphans_only=orphans_only)
        self._claim_orphans_at_s = now_s + self._lease_s / 5
        if not orphans_only:
            self._claim_at_s = now_s + self._lease_s / 5
        entries = [entry for entry in claimed if entry.id not in held]
        if entries:
            emit(logger, TAKEN_OVER, level=logging.WARNING, queue=self._queue.name, entries=len(entries))
            self._keep(entries, at_s=now_s)

    def _keep(self, entries: list[Entry], *, at_s: float) -> None:
        self._leases.take(entries, at_s=at_s)
        # A dead letter first: behind a suspect it would be given back, and as another entry it would run again.
        self._fetched += sorted(entries, key=lambda entry: not entry.condemned)

    def _admission(self, entry: Entry, *, timeout_s: float) -> Admission:
        if entry.condemned:  # it is not run
            return Admission.ADMITTED
        admit = self._solo.admit_alone if entry.is_suspect else self._solo.admit
        return admit((self._queue.name, entry.id), timeout_s=timeout_s)

    def _give_back_ordinary(self) -> None:
        """A suspect runs alone here, and that may take long: what is no suspect is for other processes."""
        self._give_back([entry.id for entry in self._fetched if not entry.is_suspect])
        self._fetched = deque(entry for entry in self._fetched if entry.is_suspect)

    def _opened(self, entry: Entry) -> StreamMessage | None:
        """The message of an entry; ``None`` if there is none for the worker, which is then settled here."""
        try:
            return self._read(entry)
        except redis.RedisError:
            self._leases.release([entry.id])  # so that the next consumer recovers it
            raise

    def _read(self, entry: Entry) -> StreamMessage | None:
        if entry.wakes or entry.gone:
            if entry.wakes:
                self._keeper.look(self._queue.name)
                self._claim_orphans_at_s = 0.0  # orphans wake a reader too
            self._end(entry.id, letter=None)
            return None
        match found := self._triage.look(entry):
            case StreamMessage():
                return self._admitted(found, entry)
            case Postponed(message=message, write=write):
                self._leases.add_follow_up(message, write, message_id=message.message_id)
                if self._end(entry.id, letter=None) and found.first:
                    self._warn(UNKNOWN_TASK, message, waits_s=PATIENCE_MS // 1000)
            case Letter():
                self._bury(entry.id, found)
            case _ as never:
                assert_never(never)
        return None

    def _admitted(self, message: StreamMessage, entry: Entry) -> StreamMessage | None:
        if entry.is_suspect:
            if not self._queue.mark_alone(entry.id):
                self._leases.release([entry.id])
                return None
            self._warn(RUNS_ALONE, message, crashes=entry.crashes)
        self._leases.name(entry.id, message_id=message.message_id)
        return message

    def _settle(self, message: StreamMessage, *, letter: Letter | None) -> None:
        if self._leases.is_forsaken(message.entry_id):
            self._leases.release([message.entry_id])
            return
        try:
            if letter is None:
                self._end(message.entry_id, letter=None)
            else:
                self._bury(message.entry_id, letter)
        except redis.RedisError as error:
            raise self._translated(error) from error

    def _bury(self, entry_id: str, letter: Letter) -> None:
        if self._end(entry_id, letter=letter):
            emit(
                logger,
                DEAD_LETTER,
                level=logging.ERROR,
                queue=self._queue.name,
                task=letter.fields.get("task"),
                call_id=letter.id,
                reason=letter.fields["reason"],
            )

    def _end(self, entry_id: str, *, letter: Letter | None) -> bool:
        """Settle an entry on the server, then here. What follows is written only if this worker still has it."""
        repeated = self._leases.is_settling(entry_id)
        follow_ups = self._leases.settle(entry_id)
        try:
            done = self._queue.finish(entry_id, follow_ups=follow_ups, letter=letter)
        except redis.ResponseError as error:
            if self._leases.refuse(entry_id):  # Dramatiq's worker repeats this until it succeeds
                problem = f"{type(error).__name__}: {error}"
                emit(logger, END_REFUSED, level=logging.ERROR, queue=self._queue.name, entry=entry_id, problem=problem)
            raise
        self._leases.release([entry_id])
        if follow_ups:
            self._keeper.look(self._queue.name, in_s=min(write.delay_ms for write in follow_ups) / 1000)
        if not (done or repeated):  # what was sent before may have been done, and its answer lost
            emit(logger, LEASE_LOST, level=logging.WARNING, queue=self._queue.name, entry=entry_id, when="settled")
        return done

    def _warn(self, event: str, message: StreamMessage, **more: Any) -> None:
        emit(
            logger,
            event,
            level=logging.WARNING,
            queue=self._queue.name,
            task=message.actor_name,
            call_id=message.message_id,
            **more,
        )

    def _give_back(self, entry_ids: list[str]) -> None:
        if not entry_ids:
            return
        try:
            self._queue.requeue(entry_ids)
        except redis.RedisError as error:
            raise self._translated(error) from error
        finally:  # renewed by the keeper, what was not given back would be kept from all workers, this one too
            self._leases.release(entry_ids)
