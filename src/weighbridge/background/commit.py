"""The commit of one facade: where it stands, what it accepted, how it failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

import anyio

from weighbridge.background.abandoned import NOT_RUN
from weighbridge.background.unavailable import for_request, interrupted
from weighbridge.call import Call
from weighbridge.cancellation import cancellations, obey, to_the_end
from weighbridge.dispatch import Dispatch
from weighbridge.errors import CommittedError, UnavailableError
from weighbridge.events import emit

logger: Final = logging.getLogger("weighbridge.background")


class State(StrEnum):
    """A facade takes calls while open, and commits once. It may be discarded at any stage."""

    OPEN = "open"
    COMMITTING = "committing"
    COMMITTED = "committed"
    FAILED = "failed"
    DISCARDED = "discarded"


class Commit:
    """Goes from open to committed, or fails; belongs to the loop of its dispatcher, as all of a request's end does."""

    __slots__ = ("_ended", "accepted", "failure", "is_open", "state")

    def __init__(self) -> None:
        self.state = State.OPEN
        #: Whether ``state`` is that: asked some times by every request, and a member of an enum is slow to find.
        self.is_open = True
        #: In-process calls that were accepted, in the order in which they are to run.
        self.accepted: Sequence[Call] = ()
        self.failure: Exception | None = None
        self._ended: anyio.Event | None = None

    async def is_done(self) -> bool:
        """Whether there is nothing left to commit; waits for one that another task has under way.

        :raises UnavailableError: if an earlier one failed in a way that a second could make worse: its calls may be in
            the queue.
        :raises CommittedError: if the calls were discarded.
        """
        since = cancellations()
        if self.state is State.COMMITTING:
            self._ended = self._ended or anyio.Event()
            await to_the_end(self._ended.wait)
            if self.failure is not None:
                raise self.failure
            obey(since=since)
        if isinstance(self.failure, UnavailableError) and self.failure.unknown:
            raise self.failure
        if self.state is State.DISCARDED:
            raise CommittedError(action="commit()", remedy="its calls were discarded; make another BackgroundTasks")
        return self.state is State.COMMITTED

    async def run(self, dispatch: Dispatch, queued: Sequence[Call], staying: Sequence[Call]) -> None:
        """Have the calls accepted, all or none. A cancellation gets through when that has ended.

        :raises UnavailableError: if they were not accepted, or it is not known.
        """
        since = cancellations()
        try:
            accepted = await dispatch.commit(queued, staying)
        except UnavailableError as error:
            raise self._fail(for_request(error)) from error
        except BaseException as error:
            self._fail(error if isinstance(error, Exception) else interrupted(queued))
            raise
        if self.state is State.DISCARDED:  # while the broker was asked
            dispatch.release(accepted)
            note_not_run(accepted)
            accepted = ()
        self.end(accepted)
        obey(since=since)

    def run_staying(self, dispatch: Dispatch, staying: Sequence[Call]) -> None:
        """As :meth:`run`, for a request that queues no call: nothing has to be waited for."""
        try:
            dispatch.accept(staying)
        except UnavailableError as error:
            raise self._fail(for_request(error)) from error
        except Exception as error:
            self._fail(error)
            raise
        self.end(staying)

    def begin(self) -> None:
        """The calls are being accepted: none can be added, and whoever else commits waits."""
        self.state, self.is_open = State.COMMITTING, False
        self.failure = self._ended = None

    def discard(self) -> None:
        """Nothing of it will run that is not in the queue."""
        self.state, self.is_open, self.accepted = State.DISCARDED, False, ()

    def end(self, accepted: Sequence[Call] = ()) -> None:
        """The calls were accepted."""
        self.accepted = accepted
        self._end(State.COMMITTED)

    def _fail(self, failure: Exception) -> Exception:
        self.failure = failure
        self._end(State.FAILED)
        return failure

    def _end(self, state: State) -> None:
        if self.state is not State.DISCARDED:  # which is for good
            self.state = state
        if self._ended is not None:
            self._ended.set()


def note_not_run(calls: Sequence[Call]) -> None:
    """Say of accepted calls that they will not run."""
    if calls:
        emit(logger, NOT_RUN, level=logging.WARNING, tasks=[call.name for call in calls])


def too_late(func: Callable[..., Any]) -> CommittedError:
    """The error for a call that is added when it could only be lost."""
    return CommittedError(
        action=f"add_task({getattr(func, '__qualname__', func)!s})",
        remedy="add calls before the response starts; what a streaming endpoint adds while it streams needs "
        "dispatcher.tasks()",
    )
