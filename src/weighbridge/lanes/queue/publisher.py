"""The publisher: one thread that writes the queued calls of all requests to the broker, in groups."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from queue import Empty
from typing import Final

from weighbridge.errors import EnqueueError
from weighbridge.events import emit
from weighbridge.lanes.queue.availability import RETRY_AFTER_S, Availability
from weighbridge.lanes.queue.batch import Batch, Stage
from weighbridge.lanes.queue.failure import Failure
from weighbridge.lanes.queue.inbox import Inbox
from weighbridge.lanes.queue.waiter import wake
from weighbridge.lanes.queue.writer import Writer

logger: Final = logging.getLogger("weighbridge.queue")

ENQUEUED_UNSEEN: Final = "queue.enqueued_unseen"
NOT_WRITTEN_AT_CLOSE: Final = "queue.not_written_at_close"
PUBLISHER_FAILED: Final = "queue.publisher_failed"
CALLS_REFUSED: Final = "queue.calls_refused"

#: Seconds between two attempts of one write, so that a server that is starting is not asked without pause.
PAUSE_S: Final = 0.02


class Publisher:
    """Takes batches from any thread and loop; its own thread writes them, and wakes who waits for them.

    Whatever waits when the thread becomes free goes into the next write. A batch gets ``timeout_s`` seconds
    from :meth:`submit` on; within them an idempotent write is repeated. What fails then opens the breaker: whatever
    waits is refused at once, and the thread, which has nothing else to do, probes the broker until it takes a write.

    The thread is a daemon: it does not keep an interpreter alive that ends without :meth:`stop`, and no call that it
    had not written was ever reported as accepted.

    :param queue: A queue to probe if no write has failed, but a ping.
    """

    def __init__(
        self,
        *,
        writer: Writer,
        timeout_s: float,
        waiting_limit: int,
        availability: Availability,
        queue: Callable[[], str] = lambda: "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._availability = availability
        self._queue = queue
        self._clock = clock
        #: The queues of the write that failed last: in a cluster another one may lie on a node that is well.
        self._suspects: Collection[str] = ()
        self._inbox = Inbox(waiting_limit=waiting_limit, timeout_s=timeout_s, clock=clock)
        self._group: Sequence[Batch] = ()
        self._thread = threading.Thread(target=self._run, name="weighbridge-publisher", daemon=True)

    @property
    def waiting(self) -> int:
        """Calls that were submitted and are not settled."""
        return self._inbox.waiting

    def start(self) -> None:
        """Start the thread. A process that forks starts it in each child: threads do not cross a fork."""
        self._thread.start()

    # -- from the threads and loops of the callers ----------------------------------------------------------

    def submit(self, batch: Batch) -> None:
        """Let ``batch`` be written. It returns at once.

        :raises LaneFullError: if more calls than the bound would wait.
        :raises EnqueueError: if the publisher was stopped, or its thread is not in this process.
        """
        # First, for in a forked child the inbox may be locked by a thread that is not there.
        if not self._thread.is_alive():
            raise EnqueueError(
                problem="the publisher's thread does not run in this process (a fork does not take threads along: "
                "open the dispatcher in each process, after the fork)",
                tasks=batch.tasks,
                unknown=False,
                retry_after_s=RETRY_AFTER_S,
            )
        self._inbox.add(batch)

    def look_up(self) -> None:
        """Have the thread see that the breaker was opened by something else than its own writes."""
        self._inbox.nudge()

    def give_up(self, batch: Batch) -> Failure | None:
        """Settle ``batch`` now, since nobody waits any longer; how it ended.

        A batch that waits is never written after this. One that is being written may get through.
        """
        return self._inbox.give_up(batch, address=self._writer.address)

    def stop(self, timeout_s: float) -> bool:
        """Take no more, write what waits, and end the thread; whether it ended within ``timeout_s`` seconds.

        What is not written by then is refused: what waits certainly is not in the queue, what is being written
        may get there.
        """
        if not self._thread.is_alive():
            return True
        self._inbox.close()
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            return True
        left = [*self._group, *self._rest()]
        left = [batch for batch in left if batch.stage is not Stage.SETTLED]
        failures = [self.give_up(batch) for batch in left]
        if left:
            emit(
                logger,
                NOT_WRITTEN_AT_CLOSE,
                level=logging.ERROR,
                broker=self._writer.address,
                calls=sum(len(batch.items) for batch in left),
                batches=len(left),
                unknown=sum(failure is not None and failure.unknown for failure in failures),
            )
        self._wake(left)
        return False

    def _rest(self) -> list[Batch]:
        rest: list[Batch] = []
        try:
            while (batches := self._inbox.take(messages=1, timeout_s=0)) is not None:
                rest += batches
        except Empty:  # the thread, free at last, is taking the end
            pass
        return rest

    # -- on the publisher's own thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                self._group = group
                try:
                    self._write(group)
                except Exception as error:  # noqa: BLE001  # a fault of ours must not strand all later calls
                    emit(logger, PUBLISHER_FAILED, level=logging.ERROR, error=error)
                    problem = f"the publisher failed ({type(error).__qualname__}; see the log)"
                    self._end(group, Failure(problem=problem, unknown=True, cause=error))
                self._group = ()
        finally:
            self._writer.close()

    def _next_group(self) -> list[Batch] | None:
        """Wait for batches that somebody waits for, and that may be written; ``None`` at the end."""
        while True:
            try:
                taken = self._inbox.take(messages=self._writer.group_limit, timeout_s=self._idle_s())
            except Empty:
                self._while_idle()
                continue
            if taken is None:
                return None
            group = [batch for batch in taken if batch.stage is not Stage.SETTLED]
            refusal = self._availability.refusal()
            if refusal is not None:  # they waited when the breaker opened
                self._end(group, refusal)
            elif group:
                return group

    def _idle_s(self) -> float | None:
        """For how long there is nothing to do, if nothing comes."""
        times_s = [each for each in (self._writer.idle_s, self._availability.next_probe_in_s()) if each is not None]
        return min(times_s, default=None)

    def _while_idle(self) -> None:
        try:
            if self._availability.begin_probe():
                self._probe()
            else:
                self._writer.keep_alive()
        except Exception as error:  # noqa: BLE001  # nobody waits for this, and the next write connects anew
            emit(logger, PUBLISHER_FAILED, level=logging.ERROR, error=error)

    def _probe(self) -> None:
        try:
            failure = self._writer.probe(self._suspects or (self._queue(),))
        except Exception as error:
            self._note(Failure(problem=f"a probe failed ({type(error).__qualname__}; see the log)", unknown=False))
            raise
        # A failure of the probe's own: this queue is forbidden to the user, and the broker answers.
        self._note(None if failure is None or failure.own else failure)

    def _note(self, failure: Failure | None) -> None:
        """Tell how an exchange ended that is not repeated any more."""
        if failure is None:
            self._suspects = ()
            self._availability.wrote()
            return
        self._availability.failed(failure)
        try:
            self._writer.drop()
        except Exception as error:  # noqa: BLE001  # the failure itself is what callers are to be told
            emit(logger, PUBLISHER_FAILED, level=logging.ERROR, error=error)

    def _write(self, group: Sequence[Batch], earlier: Failure | None = None) -> None:
        while group:
            group, failure = self._attempt(group)
            if failure is None:
                if group:
                    self._note(None)
                    self._end(group, None)
                return
            failure = failure.after(earlier)
            if failure.own and len(group) > 1 and (self._writer.idempotent or not failure.unknown):
                for batch in group:  # one of them is at fault, and the others are not to suffer for it
                    self._write([batch], failure)
                return
            # What refuses at once is not asked again, unless it may have taken the calls before it refused.
            again = failure.passing and (failure.unknown or failure.timed_out)
            if not (again and self._writer.idempotent):
                self._give_up_on(group, failure)
                return
            earlier = failure
            time.sleep(PAUSE_S)
            now_s = self._clock()
            late = [batch for batch in group if batch.deadline_s <= now_s]
            left = [batch for batch in group if batch.deadline_s > now_s and batch.stage is not Stage.SETTLED]
            if not left:
                self._give_up_on(group, failure)
                return
            self._end(late, failure)
            group = left

    def _give_up_on(self, group: Sequence[Batch], failure: Failure) -> None:
        """Settle what is not tried again. The breaker first: who is told may come back at once."""
        if failure.own:
            tasks = sorted({task for batch in group for task in batch.tasks})
            emit(logger, CALLS_REFUSED, level=logging.ERROR, tasks=tasks, problem=failure.problem)
        else:
            self._suspects = {message.queue_name for batch in group for message, _ in batch.items}
            self._note(failure)
        self._end(group, failure)

    def _attempt(self, group: Sequence[Batch]) -> tuple[Sequence[Batch], Failure | None]:
        """Write once; what was written, without those whose callers had given up, and how it ended."""
        items = [item for batch in group for item in batch.items]
        failure = self._writer.reach(items)
        if failure is None:
            begun, late = self._inbox.begin(group)
            self._wake(late)
            if not begun:
                return begun, None
            if len(begun) < len(group):
                items = [item for batch in begun for item in batch.items]
            group = begun
            failure = self._writer.write(items)
        return group, failure

    def _end(self, batches: Iterable[Batch], failure: Failure | None) -> None:
        ended, given_up = self._inbox.end(batches, failure)
        self._wake(ended)
        if failure is None:
            for batch in given_up:
                self._tell_unseen(batch)

    def _wake(self, batches: Sequence[Batch]) -> None:
        gone = wake(batch.waiter for batch in batches)
        if gone:
            for batch in batches:
                if batch.failure is None and batch.waiter in gone:
                    self._tell_unseen(batch)

    def _tell_unseen(self, batch: Batch) -> None:
        """Its calls are in the queue, and its request has not learned it."""
        for message, _ in batch.items:
            emit(
                logger,
                ENQUEUED_UNSEEN,
                level=logging.WARNING,
                task=message.actor_name,
                call_id=message.message_id,
            )
