"""The thread that keeps time for a worker's queues: it renews leases, and lets delayed messages become due."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import redis

from weighbridge.events import emit
from weighbridge.lanes.queue.leases import Leases

logger: Final = logging.getLogger("weighbridge.queue")

LEASE_LOST: Final = "queue.lease_lost"
KEEPER_WAITS: Final = "queue.keeper_waits"
KEEPER_FAILED: Final = "queue.keeper_failed"

#: Seconds between two looks for delayed messages that were written without waking a reader. Each costs the server
#: one command, of the two a second that one idle queue may cost it for each worker process.
WATCH_S: Final = 2.0
#: Seconds between two tries while the server is away.
RETRY_S: Final = 0.5
#: Workers that died without a word stand in the group for ever. Those that hold nothing are removed after this many
#: seconds of silence; a living one asks for messages, or renews its leases, far more often.
SILENT_S: Final = 600.0
SWEEP_EVERY_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class _Watched:
    """One queue's times, all of the monotonic clock. ``first`` is the score of the first delayed message."""

    leases: Leases
    renew_at_s: float
    look_at_s: float = 0.0
    sweep_at_s: float = 0.0
    due_at_s: float | None = None
    first: str | None = None
    lost: set[str] = field(default_factory=set)

    def next_s(self) -> float:
        """When there is something to do."""
        times = [self.look_at_s]
        if len(self.leases):
            times.append(self.renew_at_s)
        if self.due_at_s is not None:
            times.append(self.due_at_s)
        return min(times)


class Keeper(threading.Thread):
    """Keeps the leases of all entries that this process holds, whether or not its consumers fetch.

    A lease runs on the server's clock and is renewed every third of its life. Delayed messages are moved when they
    are due: by the server's clock too, a few milliseconds late; this thread only asks at the right moment.

    ``pulse`` is called in each round and before each queue, at least every third of a lease, or after each time-out of
    a silent server: it tells whoever watches this process that the interpreter runs.
    """

    def __init__(self, *, lease_s: float, pulse: Callable[[], None] | None = None) -> None:
        super().__init__(name="weighbridge-queue-keeper", daemon=True)
        self._renew_every_s = lease_s / 3
        self._pulse = pulse
        self._changed = threading.Condition()
        self._watched: dict[str, _Watched] = {}
        self._stopped = False
        self._waits = False

    def watch(self, leases: Leases) -> None:
        """Keep this queue's time from now on; again: does nothing."""
        with self._changed:
            if leases.queue.name not in self._watched:
                renew_at_s = time.monotonic() + self._renew_every_s
                self._watched[leases.queue.name] = _Watched(leases=leases, renew_at_s=renew_at_s)
                self._changed.notify()

    def look(self, queue: str, *, in_s: float = 0.0) -> None:
        """A message of this queue is due in ``in_s`` seconds."""
        with self._changed:
            watched = self._watched.get(queue)
            at_s = time.monotonic() + in_s
            if watched is not None and (watched.due_at_s is None or at_s < watched.due_at_s):
                watched.due_at_s = at_s
                self._changed.notify()

    def stop(self) -> None:
        """End the thread; leases are not renewed from now on."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """Do what is due, and wait for what comes next."""
        while True:
            self._beat()
            with self._changed:
                if self._stopped:
                    return
                now_s = time.monotonic()
                next_s = min((each.next_s() for each in self._watched.values()), default=now_s + WATCH_S)
                if next_s > now_s:
                    # An entry that is taken meanwhile tells nobody, and its lease must not lapse in this sleep.
                    self._changed.wait(min(next_s - now_s, self._renew_every_s))
                    continue
                due = [each for each in self._watched.values() if each.next_s() <= now_s]
            for watched in due:
                self._beat()  # a silent server takes its full time with each queue
                self._keep(watched)

    def _beat(self) -> None:
        if self._pulse is not None:
            self._pulse()

    def _keep(self, watched: _Watched) -> None:
        now_s = time.monotonic()
        try:
            if watched.renew_at_s <= now_s:
                self._renew(watched)
                watched.renew_at_s = now_s + self._renew_every_s
            if watched.due_at_s is not None and watched.due_at_s <= now_s:
                self._promote(watched)
            elif watched.look_at_s <= now_s:
                watched.look_at_s = now_s + WATCH_S
                if watched.leases.queue.delayed_before(watched.first):
                    self._promote(watched)
            if watched.sweep_at_s <= now_s:
                watched.sweep_at_s = now_s + SWEEP_EVERY_S
                watched.leases.queue.retire(None, idle_s=SILENT_S)
        except redis.RedisError as error:
            self._wait(watched, error)
        except Exception as error:  # noqa: BLE001  # without this thread all leases lapse and all calls run twice
            self._pause(watched)
            emit(logger, KEEPER_FAILED, level=logging.CRITICAL, error=error, queue=watched.leases.queue.name)
        else:
            self._waits = False

    def _renew(self, watched: _Watched) -> None:
        held = watched.leases.ids()
        if not held:
            return
        asked_s = time.monotonic()
        lost = set(watched.leases.queue.renew(held))
        # An entry that a thread settles in these milliseconds is gone from the server, and not lost.
        lost = {entry_id for entry_id in lost if entry_id in watched.leases}
        lost = {entry_id for entry_id in lost if not watched.leases.is_settling(entry_id)}
        watched.leases.renewed(held, lost=lost, at_s=asked_s)
        for entry_id in lost - watched.lost:
            # Another worker runs it again. A run here goes on: its failure will change nothing, its success ends the
            # call. What has not started here will not.
            emit(
                logger,
                LEASE_LOST,
                level=logging.WARNING,
                queue=watched.leases.queue.name,
                entry=entry_id,
                when="renewed",
            )
        watched.lost = lost

    def _promote(self, watched: _Watched) -> None:
        with self._changed:
            watched.due_at_s = None  # a look() from here on is news that this promotion may not see
        promotion = watched.leases.queue.promote()
        watched.first = promotion.next_score
        if promotion.next_in_s is not None:
            self.look(watched.leases.queue.name, in_s=promotion.next_in_s)

    def _pause(self, watched: _Watched) -> None:
        """Try again soon: what was due is still due."""
        again_s = time.monotonic() + RETRY_S
        with self._changed:
            watched.due_at_s = again_s
            watched.renew_at_s = max(watched.renew_at_s, again_s)
            watched.look_at_s = max(watched.look_at_s, again_s)

    def _wait(self, watched: _Watched, error: redis.RedisError) -> None:
        """The server could not be asked. It is told of once."""
        self._pause(watched)
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            # The consumer asks the server nothing while the process is full, and may not meet the outage.
            watched.leases.trouble(lease_s=3 * self._renew_every_s)
        if not self._waits:
            self._waits = True
            queue = watched.leases.queue.name
            emit(logger, KEEPER_WAITS, level=logging.WARNING, queue=queue, problem=type(error).__name__)
