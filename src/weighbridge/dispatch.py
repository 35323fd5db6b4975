"""Dispatch: weigh a call, decide, hand it over. What a facade needs of an open dispatcher, and no more."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import ref

import anyio
import anyio.from_thread
import anyio.lowlevel

from weighbridge.call import Call
from weighbridge.chooser import Chooser
from weighbridge.errors import DispatcherError, EnqueueError, NotOpenError, SeveralDispatchersError, UnavailableError
from weighbridge.event_loop import soon
from weighbridge.events import emit
from weighbridge.lanes.in_process import InProcessLane, waits_for_itself
from weighbridge.settings import OnFailure
from weighbridge.task import OnUnavailable

if TYPE_CHECKING:
    from weighbridge.lanes.queue import QueueLane  # loads Dramatiq, which a service without a queue never needs

logger: Final = logging.getLogger("weighbridge.dispatch")
#: For what a facade could not keep, though it is told from here: the event is the facade's.
facade_logger: Final = logging.getLogger("weighbridge.background")

RAN_HERE: Final = "dispatch.ran_here"
NOT_RUN: Final = "background.calls_not_run"


class Pending(Protocol):
    """A facade, as far as it is known here."""

    @property
    def pending(self) -> bool:
        """Whether accepted calls wait for the end of their request."""
        ...


#: The facade that this task has committed itself, before its request's end, and to what. A weak reference: of a facade
#: that is thrown away the calls are named.
_committed_here: Final[ContextVar[tuple[ref[Pending], Dispatch | None]]] = ContextVar("weighbridge_committed_here")


def note_committed_here(facade: Pending, dispatch: Dispatch | None) -> None:
    """This task commits ``facade`` itself."""
    _committed_here.set((ref(facade), dispatch))


class Dispatch:
    """An open dispatcher: its chooser and its two lanes.

    ``chooser`` may be used from any thread; the rest belongs to the loop that opened the dispatcher, and ``token``
    leads other threads there.
    """

    def __init__(
        self,
        *,
        chooser: Chooser,
        in_process: InProcessLane,
        queue: QueueLane | None,
        on_failure: OnFailure,
        wait_in_process: bool,
        token: anyio.lowlevel.EventLoopToken,
    ) -> None:
        self.chooser = chooser
        self.in_process = in_process
        self.queue = queue
        self.runs_like_starlette = on_failure is OnFailure.STOP
        self.wait_in_process = wait_in_process
        self.token = token
        #: As the lane's method of this name: start accepted calls as one chain.
        self.start = in_process.start
        #: As the lane's :meth:`~InProcessLane.reserve_now`: room for the calls of a request that queues none.
        self.accept_now = in_process.reserve_now

    async def commit(self, queued: Sequence[Call], staying: Sequence[Call]) -> Sequence[Call]:
        """Accept a request's calls, all or none: room in process for those that stay, the broker for the queued.

        Not cancellable: ``admission_timeout_s`` bounds the wait for room, ``enqueue_timeout_s`` that for the broker.

        :returns: those of ``queued`` that ``run_here`` keeps in process: none, or if the broker did not take them all.
        :raises LaneFullError: if a lane has no room; nothing was enqueued.
        :raises DrainingError: if the lane in process takes no more calls; nothing was enqueued.
        :raises EnqueueError: if the broker did not take the queued calls, or may not have.
        """
        await self.in_process.reserve(staying)
        if not queued:
            return ()
        assert self.queue is not None  # or no call would have been queued
        with self.in_process.undecided():
            try:
                await self.queue.commit(queued)
            except UnavailableError as error:
                return await self._keep_here(queued, error, staying)
            except BaseException:
                self.in_process.release(staying)
                raise
        return ()

    async def join(self) -> None:
        """Return once nothing waits or runs in process.

        :raises DispatcherError: where that would wait for itself: in a task that runs here, and in a request that has
            committed calls itself, which start when it has ended.
        """
        facade, where = _committed_here.get((None, None))
        committed = facade() if facade is not None and where is self else None
        if committed is not None and committed.pending:
            raise waits_for_itself("of a request that has not ended")
        await self.in_process.join()

    def give_up(self, calls: Sequence[Call]) -> None:
        """Say of accepted calls that they will not run, and give back their room soon. On any thread."""
        if not calls:
            return
        note_not_run(calls)
        # Not at once, even on the loop's thread: garbage is found at any moment, and this would change the room while
        # the lane looks at it.
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the lane with it
            soon(self.token)(partial(self.in_process.release, calls))

    def run_blocking(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine on the dispatcher's loop, from any thread that may be blocked.

        :raises NotOpenError: if that loop has ended.
        """
        try:
            anyio.from_thread.run(run, token=self.token)
        except anyio.RunFinishedError:
            raise NotOpenError(
                problem="the event loop of the dispatcher has ended", remedy="open it anew, on a loop that runs"
            ) from None

    def refuse_elsewhere(self) -> None:
        """Refuse to go on where another event loop runs than the dispatcher's: its lanes belong to that one.

        :raises DispatcherError: on another event loop.
        """
        if anyio.lowlevel.current_token() != self.token:
            raise DispatcherError(
                problem="the dispatcher is open on another event loop",
                remedy="open one on each loop, or use `with dispatcher.tasks()` on a thread of this one",
            )

    async def _keep_here(
        self, queued: Sequence[Call], error: UnavailableError, staying: Sequence[Call]
    ) -> Sequence[Call]:
        """The queued calls, if they certainly are not in the queue and each may then run here; else ``error``."""
        try:
            if not _may_run_here(queued, error):
                raise error
            await self.in_process.reserve(queued)
        except UnavailableError:
            self.in_process.release(staying)
            raise
        for call in queued:
            emit(logger, RAN_HERE, level=logging.WARNING, task=call.name, call_id=call.id, problem=error.problem)
        assert self.queue is not None  # it has refused them
        self.queue.note_ran_here(len(queued))
        return queued


def _may_run_here(queued: Sequence[Call], error: UnavailableError) -> bool:
    return (
        isinstance(error, EnqueueError)
        and not error.unknown
        and all(
            call.spec is not None
            and call.spec.on_unavailable is OnUnavailable.RUN_HERE
            and call.options.lane is None
            and call.options.delay_s is None
            for call in queued
        )
    )


def note_not_run(calls: Sequence[Call]) -> None:
    """Say of accepted calls that they will not run."""
    if calls:
        emit(facade_logger, NOT_RUN, level=logging.WARNING, tasks=[call.name for call in calls])


class DispatchSource(Protocol):
    """Whatever can say which open dispatch a facade should use; a dispatcher, that is."""

    @property
    def dispatch(self) -> Dispatch | None:
        """The open state; ``None`` while closed."""
        ...


#: The dispatches that are open on the running loop, so that a stand-alone facade finds the one there is.
_open_here: Final = anyio.lowlevel.RunVar[tuple[Dispatch, ...]]("weighbridge_open_dispatches", ())


def publish(dispatch: Dispatch) -> None:
    """Make ``dispatch`` known on the running loop."""
    _open_here.set((*_open_here.get(), dispatch))


def withdraw(dispatch: Dispatch) -> None:
    """Forget ``dispatch`` on the running loop."""
    _open_here.set(tuple(each for each in _open_here.get() if each is not dispatch))


def only_open_dispatch() -> Dispatch | None:
    """The one dispatch that is open on the running loop (on a worker thread: on the loop that started it).

    :raises SeveralDispatchersError: if there are several.
    """
    try:
        open_here = _open_here.get()
    except anyio.NoEventLoopError:
        try:
            open_here = anyio.from_thread.run_sync(_open_here.get)
        except RuntimeError:  # not a worker thread either: there is no loop
            return None
    if len(open_here) > 1:
        raise SeveralDispatchersError(
            problem=f"{len(open_here)} dispatchers are open on this event loop",
            remedy="say which one: BackgroundTasks(dispatcher=…), or dependencies=[dispatcher.gate] on the app",
        )
    return open_here[0] if open_here else None
