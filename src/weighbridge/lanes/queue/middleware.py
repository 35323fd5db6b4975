"""The middleware of a broker that weighbridge makes, and retries that outlive an outage of the broker."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any, Final

import dramatiq
from dramatiq.middleware import (
    AgeLimit,
    AsyncIO,
    CurrentMessage,
    Retries,
    SkipMessage,
    TimeLimit,
    raise_thread_exception,
)
from dramatiq.middleware.time_limit import TimeLimitExceeded
from dramatiq.threading import is_gevent_active

from weighbridge.events import emit
from weighbridge.lanes.queue.failure import is_brokers
from weighbridge.lanes.queue.leasing import LeasingBroker
from weighbridge.lanes.queue.stream_message import StreamMessage
from weighbridge.task import DEFAULT_QUEUE_RETRIES

logger: Final = logging.getLogger("weighbridge.queue")

NOT_STARTED: Final = "queue.not_started"
RETRY_WAITS: Final = "queue.retry_waits"
RETRY_REFUSED: Final = "queue.retry_refused"

#: Milliseconds that a run may take if its task declares no limit: Dramatiq's own default.
TIME_LIMIT_MS: Final = 600_000
#: Milliseconds between two looks for runs that took too long.
TIME_LIMIT_INTERVAL_MS: Final = 200
#: Milliseconds before the first retry and between later ones, for messages whose actor says nothing.
MIN_BACKOFF_MS: Final = 1_000
MAX_BACKOFF_MS: Final = 60_000
#: Seconds between two tries to write a retry while the broker is away.
RETRY_PAUSE_S: Final = 1.0


class PersistentRetries(Retries):
    """Retries of which none is lost while the broker is away.

    Dramatiq swallows the failure to enqueue a retry and acknowledges the message: the call is gone (its pull
    request 545). Here the message stays unacknowledged and its worker thread waits until the retry is
    written; if the worker ends before, the broker offers the message again. A retry that cannot be built
    makes the message a dead letter.
    """

    def __init__(self, *, pause_s: float = RETRY_PAUSE_S) -> None:
        super().__init__(  # type: ignore[no-untyped-call, unused-ignore]  # Dramatiq types it in part
            max_retries=DEFAULT_QUEUE_RETRIES, min_backoff=MIN_BACKOFF_MS, max_backoff=MAX_BACKOFF_MS
        )
        self._pause_s = pause_s

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Write the retry of a failed run, however long the broker is away."""
        retries = message.options.get("retries")
        told = False
        while True:
            try:
                super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]  # Dramatiq does not type it
            except Exception as error:  # noqa: BLE001  # Dramatiq would log and forget it, and with it the call
                if not is_brokers(error):
                    emit(
                        logger,
                        RETRY_REFUSED,
                        level=logging.ERROR,
                        error=error,
                        task=message.actor_name,
                        call_id=message.message_id,
                    )
                    message.fail()
                    return
                if not told:
                    emit(
                        logger,
                        RETRY_WAITS,
                        level=logging.WARNING,
                        task=message.actor_name,
                        call_id=message.message_id,
                        problem=type(error).__name__,
                    )
                    told = True
            else:
                return
            # Dramatiq has counted this retry, and will again.
            if retries is None:
                message.options.pop("retries", None)
            else:
                message.options["retries"] = retries
            time.sleep(self._pause_s)


class _Deadlines(threading.Thread):
    """Interrupts the threads whose runs take too long. A thread that has removed its deadline is not interrupted.

    Dramatiq's own raises without its lock, so what it raises may meet a thread whose run has just ended: in the
    worker's own code, which dies of it, or in the next run.
    """

    def __init__(self, *, interval_s: float, logger: logging.Logger) -> None:
        super().__init__(name="weighbridge-time-limits", daemon=True)
        self._logger = logger
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._ends_s: dict[int, float] = {}

    def add_timeout(self, thread_id: int, ttl: float) -> None:
        """Interrupt this thread in ``ttl`` milliseconds."""
        with self._lock:
            self._ends_s[thread_id] = time.monotonic() + ttl / 1000

    def remove_timeout(self, thread_id: int) -> None:
        """Do not interrupt this thread. Called by itself: an interruption that has begun comes before the return."""
        with self._lock:
            self._ends_s.pop(thread_id, None)

    def run(self) -> None:
        """Look again and again."""
        while True:
            time.sleep(self._interval_s)
            with contextlib.suppress(Exception):  # of a filter of logs: without this thread there are no limits
                self._interrupt()

    def _interrupt(self) -> None:
        with self._lock:
            now_s = time.monotonic()
            late = [thread_id for thread_id, end_s in self._ends_s.items() if now_s >= end_s]
            for thread_id in late:
                del self._ends_s[thread_id]
                raise_thread_exception(thread_id, TimeLimitExceeded)  # type: ignore[no-untyped-call]  # Dramatiq's
        for thread_id in late:
            self._logger.warning(
                "A run in thread %r has taken longer than its time limit, and is interrupted.", thread_id
            )


class RunTimeLimit(TimeLimit):
    """Dramatiq's time limit, which interrupts the run of a task and not the worker's own code after it.

    That code has no defence: an interruption while it logs a failure costs the thread, and the call its retry. So the
    actor of a task says when its run ends (:func:`end_of_run`), where what is raised still counts as the run's failure.
    """

    def __init__(self, *, time_limit: float, interval: int) -> None:
        super().__init__(time_limit=time_limit, interval=interval)
        if not is_gevent_active():  # type: ignore[no-untyped-call]  # as above
            self.manager: Any = _Deadlines(interval_s=interval / 1000, logger=self.logger)


def end_of_run(broker: dramatiq.Broker) -> None:
    """The run in this thread has ended: its time limit interrupts nothing from now on."""
    for middleware in broker.middleware:
        if isinstance(middleware, TimeLimit):
            middleware.manager.remove_timeout(threading.get_ident())  # type: ignore[no-untyped-call]  # as above


class ServerAgeLimit(AgeLimit):
    """Dramatiq's age limit by the broker's clock, so that web and worker hosts need not agree on the time.

    With a broker that has no clock for it, by this host's, as Dramatiq does it.
    """

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Reject a message that is too old."""
        if not isinstance(broker, LeasingBroker):
            super().before_process_message(broker, message)  # type: ignore[no-untyped-call]  # Dramatiq does not type it
            return
        limit_ms = message.options.get("max_age") or broker.get_actor(message.actor_name).options.get(
            "max_age", self.max_age
        )
        if limit_ms and broker.clock.now_ms() - message.message_timestamp >= limit_ms:
            message.fail()
            raise SkipMessage(f"older than its limit of {limit_ms} ms")


class LeaseFence(dramatiq.Middleware):
    """Starts no run of a message whose lease may have been lost: it runs elsewhere, or is fetched again."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Skip a message that this process does not hold any more. Its end here changes nothing."""
        if not isinstance(message, StreamMessage) or not isinstance(broker, LeasingBroker):
            return
        if not broker.may_start(message):
            emit(
                logger,
                NOT_STARTED,
                level=logging.WARNING,
                queue=message.queue_name,
                task=message.actor_name,
                call_id=message.message_id,
            )
            raise SkipMessage("another worker has it by now")


def default_middleware() -> list[dramatiq.Middleware]:
    """The middleware of a broker that weighbridge makes from an address, each chosen for a reason.

    ``before`` hooks run in this order and ``after`` hooks in the opposite one: the retries stand first, so
    that they run after all others, when no time limit can interrupt their wait any more.
    """
    return [
        PersistentRetries(),
        LeaseFence(),
        ServerAgeLimit(),  # options(expires_s=…)
        RunTimeLimit(time_limit=TIME_LIMIT_MS, interval=TIME_LIMIT_INTERVAL_MS),
        CurrentMessage(),
        AsyncIO(),  # off in Dramatiq by default, and async tasks need it
    ]
