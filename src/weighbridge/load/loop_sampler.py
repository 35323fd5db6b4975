"""The loop sampler: measures from a thread how late the event loop answers, and lets the guard look meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Self

import anyio.lowlevel

from weighbridge.decision import LoopReading
from weighbridge.event_loop import Soon, soon
from weighbridge.events import emit
from weighbridge.load.loop_blocks import LoopBlockCounter
from weighbridge.load.loop_guard import LoopGuard
from weighbridge.load.loop_thread import LoopThread

logger: Final = logging.getLogger("weighbridge.load")

GUARD_FAILED: Final = "load.loop_guard_failed"

#: Seconds from one question to the next, if the loop answers.
LOOP_INTERVAL_S: Final = 0.05
#: Seconds after which a measured lag is unknown. The loop should have been asked twenty times meanwhile: a thread that
#: had no turn in all that time cannot tell how the loop does now.
LOOP_STALE_S: Final = 1.0
#: Seconds after which a loop that has not answered is looked at, if it is looked at before it would be asked again. One
#: that is well answers far sooner.
FIRST_LOOK_S: Final = 0.01
#: The thread has woken late if it did by more seconds than this. A few threads that compute cost it some 5 ms each.
LATE_S: Final = 0.05


class _Question:
    """What the loop was asked, and whether it has answered; in seconds of the sampler's clock."""

    __slots__ = ("answered_at_s", "asked_at_s", "late_s")

    def __init__(self, asked_at_s: float, *, late_s: float) -> None:
        self.asked_at_s: Final = asked_at_s
        #: How much later than it should have been asked.
        self.late_s: Final = late_s
        self.answered_at_s: float | None = None


class LoopSampler:
    """Measures how late the event loop answers, from a thread, so that a blocked loop is seen while it blocks.

    Every 50 ms the thread asks the loop (by ``soon``, its thread-safe "call this soon") to answer; the lag is the
    time until it does, and grows while it does not. What keeps the thread from asking in time keeps the loop from
    answering too, so that time is a part of the lag. Meanwhile ``guard``, if there is one, looks at what runs there.
    """

    def __init__(
        self,
        *,
        soon: Soon,
        clock: Callable[[], float],
        guard: LoopGuard | None = None,
        first_look_s: float = FIRST_LOOK_S,
    ) -> None:
        self._first_look_s = first_look_s
        self._soon = soon
        self._clock = clock
        self._guard = guard
        self._question: _Question | None = None
        #: The last lag that was measured, and when; one value, since other threads read it.
        self._measured: tuple[float, float] | None = None
        #: When the next poll should take place.
        self._due_at_s = clock()
        #: Held until the thread shall end. To wait for a lock takes half as much CPU time as to wait for an event, and
        #: an idle process does little else.
        self._running = threading.Lock()
        self._running.acquire()
        self._thread = threading.Thread(target=self._sample, name="weighbridge-loop-sampler", daemon=True)

    @classmethod
    def of_running_loop(cls, *, clock: Callable[[], float], block_s: float, counter: LoopBlockCounter) -> Self:
        """A sampler of the loop that runs on this thread, with a guard.

        :param block_s: Seconds for which a call may block the loop before the guard tells of it; 0 for no guard.
        :param counter: What the guard counts in.
        """
        token = anyio.lowlevel.current_token()
        guard: LoopGuard | None = None
        if block_s > 0:
            thread = LoopThread(ident=threading.get_ident(), token=token)
            guard = LoopGuard(look=thread.look, block_s=block_s, counter=counter)
        # Each time that the thread wakes it takes the interpreter from the loop, and waits for a CPU with it in hand: a
        # loop that is busy notices. So it wakes only to ask, unless a block may be over before it asks again.
        first_look_s = FIRST_LOOK_S if 0 < block_s < 2 * LOOP_INTERVAL_S else LOOP_INTERVAL_S
        return cls(soon=soon(token), clock=clock, guard=guard, first_look_s=first_look_s)

    def start(self) -> None:
        """Start measuring."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end, which it does at once; on the loop, which therefore is not blocked."""
        self._running.release()

    def reading(self) -> LoopReading:
        """The last measured lag, or the one that is growing now if that is longer; and how old that is.

        A lag older than a second is unknown: the thread had no turn, and the loop has not been asked since.
        """
        question = self._question
        if question is not None and question.answered_at_s is None:
            return LoopReading(self._growing_lag_s(question) * 1_000, 0.0)
        # Looked up after the question, whose answer sets it first: so it is never the one before that answer.
        measured = self._measured
        if measured is None:
            return LoopReading()
        lag_s, measured_at_s = measured
        age_s = self._clock() - measured_at_s
        return LoopReading(lag_s * 1_000 if age_s <= LOOP_STALE_S else None, age_s)

    def poll(self) -> float:
        """Ask the loop, or see whether it has answered; the seconds until the next poll. For the sampler's thread.

        :raises RuntimeError: if the loop has ended.
        """
        now_s, question = self._clock(), self._question
        late_s = now_s - self._due_at_s
        late = late_s > LATE_S
        ask = question is None
        if question is None:
            wait_s = self._first_look_s
        elif question.answered_at_s is None:
            wait_s = self._look(question, now_s, late_s=max(0.0, late_s))
        else:
            self._end_of_lag(question.answered_at_s)
            self._question = None
            ask = late or self._first_look_s >= LOOP_INTERVAL_S
            wait_s = self._first_look_s if ask else LOOP_INTERVAL_S - self._first_look_s
        # Here: to log, above, may take its time, and the loop may take the interpreter as soon as it is asked.
        now_s = self._clock()
        self._due_at_s = now_s + wait_s
        if ask:
            self._question = question = _Question(now_s, late_s=late_s if late else 0.0)
            self._soon(partial(self._answer, question))
        return wait_s

    def _sample(self) -> None:
        wait_s = 0.0
        while not self._running.acquire(timeout=wait_s):
            try:
                wait_s = self.poll()
            except RuntimeError:  # the loop is closed: there is nothing left to measure
                break
        # Whatever blocked the loop does no longer, and may not have been told yet.
        now_s, question = self._clock(), self._question
        answered_at_s = None if question is None else question.answered_at_s
        self._end_of_lag(now_s if answered_at_s is None else answered_at_s)

    def _growing_lag_s(self, question: _Question) -> float:
        """The lag of a question that waits for its answer, or the one before it if that is longer and not stale."""
        now_s, measured = self._clock(), self._measured
        lag_s = question.late_s + now_s - question.asked_at_s
        return lag_s if measured is None or now_s - measured[1] > LOOP_STALE_S else max(lag_s, measured[0])

    def _answer(self, question: _Question) -> None:
        answered_at_s = self._clock()
        self._measured = (question.late_s + answered_at_s - question.asked_at_s, answered_at_s)
        question.answered_at_s = answered_at_s

    # -- the guard ------------------------------------------------------------------------------------------

    def _look(self, question: _Question, now_s: float, *, late_s: float) -> float:
        guard = self._guard
        if guard is None:
            return LOOP_INTERVAL_S
        try:
            return guard.unanswered(asked_at_s=question.asked_at_s, now_s=now_s, late_s=late_s)
        except Exception as error:  # noqa: BLE001  # of a look at foreign frames, or of a logging handler
            self._give_up_guard(error)
            return LOOP_INTERVAL_S

    def _end_of_lag(self, at_s: float) -> None:
        if self._guard is not None:
            try:
                self._guard.answered(at_s, late_s=max(0.0, at_s - self._due_at_s))
            except Exception as error:  # noqa: BLE001  # as above
                self._give_up_guard(error)

    def _give_up_guard(self, error: Exception) -> None:
        """Go on without: policies need the lag, and a guard that fails once would fail at each look."""
        self._guard = None
        emit(logger, GUARD_FAILED, level=logging.ERROR, error=error)
