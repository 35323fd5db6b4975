"""The commit of one facade: where it stands, what it accepted, how it failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, assert_never

import anyio

from weighbridge.background.unavailable import for_request, interrupted
from weighbridge.call import Call
from weighbridge.cancellation import to_the_end
from weighbridge.dispatch import Dispatch
from weighbridge.errors import CommittedError, UnavailableError
from weighbridge.events import emit

logger: Final = logging.getLogger("weighbridge.background")

COMMITTED_LATE: Final = "background.committed_after_response"


class State(StrEnum):
    """A facade takes calls while open, and commits once. It may be discarded at any stage."""

    OPEN = "open"
    COMMITTING = "committing"
    COMMITTED = "committed"
    FAILED = "failed"
    DISCARDED = "discarded"


#: Those that every request asks for: Python 3.11 is slow to find a member of an enum.
OPEN: Final = State.OPEN
COMMITTING: Final = State.COMMITTING
COMMITTED: Final = State.COMMITTED


class Standing(StrEnum):
    """How calls of one lane stand with the commit of their facade. ``unknown``: they may be in the queue."""

    ACCEPTED = "accepted"
    OPEN = "open"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DISCARDED = "discarded"


class Attempt:
    """One try to have the calls accepted, for those who wait for it."""

    __slots__ = ("ended", "failure")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.failure: Exception | None = None


class Commit:
    """Goes from open to committed, or fails; belongs to the loop of its dispatcher, as all of a request's end does."""

    # Defaults of the class, since each request makes one.

    #: Where it stands. It is changed by this class alone, but looked at some times for each request.
    state: State = OPEN
    #: In-process calls that were accepted, in the order in which they are to run.
    accepted: Sequence[Call] = ()
    #: How the last try failed; ``None`` if none did, or a later one succeeded.
    failure: Exception | None = None
    _attempt: Attempt | None = None

    async def is_done(self) -> bool:
        """Whether there is nothing left to commit; waits for a try that another task has under way.

        :raises UnavailableError: if that fails, or an earlier one failed in a way that a second could make worse: its
            calls may be in the queue.
        :raises CommittedError: if the calls were discarded.
        """
        while self.state is COMMITTING:
            attempt = self._attempt
            assert attempt is not None  # only a try of run() is ever seen under way
            await to_the_end(attempt.ended.wait)
            if attempt.failure is not None:
                raise attempt.failure
        if isinstance(self.failure, UnavailableError) and self.failure.unknown:
            raise self.failure
        if self.state is State.DISCARDED:
            raise CommittedError(
                action="commit()", when="after discard()", remedy="make another BackgroundTasks for further calls"
            )
        return self.state is COMMITTED

    async def run(
        self,
        dispatch: Dispatch,
        queued: Sequence[Call],
        staying: Sequence[Call],
        *,
        in_order: Callable[[Sequence[Call]], Sequence[Call]],
    ) -> None:
        """Have the calls accepted, all or none.

        :param in_order: Puts queued calls that are to run here among those that stay, as they were added.
        :raises UnavailableError: if they were not accepted, or it is not known.
        """
        attempt = self._attempt = Attempt()
        try:
            kept = await dispatch.commit(queued, staying)
        except UnavailableError as error:
            failure = attempt.failure = for_request(error)
            raise self._failed(failure) from error
        except BaseException as error:
            attempt.failure = error if isinstance(error, Exception) else interrupted(queued)
            self._failed(attempt.failure)
            raise
        else:
            accepted = in_order(kept) if kept else staying
            if self.state is State.DISCARDED:  # while the broker was asked
                dispatch.give_up(accepted)
            else:
                self.accepted, self.failure, self.state = accepted, None, COMMITTED
        finally:
            attempt.ended.set()

    def close(self) -> None:
        """No call can be added any more."""
        self.state = COMMITTING

    def reopen(self) -> None:
        """As if it had not been closed, on the loop and before anything was awaited."""
        self.state = OPEN

    def run_now(self, dispatch: Dispatch | None, staying: Sequence[Call]) -> bool:
        """As :meth:`run`, for a request that queues no call, if nothing has to be waited for; whether it was done."""
        if dispatch is not None and staying:
            try:
                if not dispatch.accept_now(staying):
                    return False
            except UnavailableError as error:
                raise self._failed(for_request(error)) from error
            except Exception as error:
                self._failed(error)
                raise
        self.accepted, self.failure, self.state = staying, None, COMMITTED
        return True

    def standing(self, *, queued: bool) -> Standing:
        """How its calls stand that are queued, or those that stay. Looks, and changes nothing."""
        if queued and self._attempt is not None:
            return self._standing_after(self._attempt)
        match self.state:
            case State.OPEN | State.COMMITTING:
                return Standing.OPEN
            case State.COMMITTED:
                return Standing.ACCEPTED
            case State.FAILED:
                return Standing.FAILED
            case State.DISCARDED:
                return Standing.DISCARDED
            case _ as never:
                assert_never(never)

    def _standing_after(self, attempt: Attempt) -> Standing:
        """How queued calls stand, which the broker was asked to take."""
        if not attempt.ended.is_set():
            return Standing.OPEN if self.state is COMMITTING else Standing.UNKNOWN
        if attempt.failure is None:  # what is in the queue stays there, also after discard()
            return Standing.ACCEPTED
        if isinstance(attempt.failure, UnavailableError) and attempt.failure.unknown:
            return Standing.UNKNOWN
        return Standing.DISCARDED if self.state is State.DISCARDED else Standing.FAILED

    def _failed(self, failure: Exception) -> Exception:
        self.failure = failure
        if self.state is not State.DISCARDED:  # which is for good
            self.state = State.FAILED
        return failure

    def discard(self) -> Sequence[Call]:
        """Nothing of it will run that is not in the queue; the calls that were accepted and now will not run."""
        accepted, self.accepted = self.accepted, ()
        self.state = State.DISCARDED
        return accepted


def note_late(queued: Sequence[Call]) -> None:
    """Say of queued calls that they are committed when the client has its answer."""
    emit(logger, COMMITTED_LATE, level=logging.WARNING, tasks=[call.name for call in queued])


def too_late(func: Callable[..., Any], state: State) -> CommittedError:
    """The error for a call that is added when it could only be lost."""
    action = f"add_task({getattr(func, '__qualname__', func)!s})"
    if state is State.DISCARDED:
        return CommittedError(action=action, when="after discard()", remedy="make another BackgroundTasks for it")
    return CommittedError(
        action=action,
        remedy="add calls before the response starts; what a streaming endpoint adds while it streams needs "
        "dispatcher.tasks()",
    )
