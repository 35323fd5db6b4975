"""The facade: FastAPI's ``BackgroundTasks`` with tickets, per-call options and a commit point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self

from fastapi import BackgroundTasks as FastAPIBackgroundTasks
from starlette.background import BackgroundTask

from weighbridge.background.abandoned import Unstarted
from weighbridge.background.blocking import refuse_on_loop
from weighbridge.background.call_task import CallTask, calls_of, none_begun
from weighbridge.background.claim import Claim, QueuedCall, in_order
from weighbridge.background.collector import collect
from weighbridge.background.commit import COMMITTED, COMMITTING, OPEN, Commit, State, note_late, too_late
from weighbridge.background.decided import DecidedCall, decided_calls
from weighbridge.background.options_view import OptionsView
from weighbridge.background.undispatched import chooser as undispatched
from weighbridge.call import NO_OPTIONS, Call, CallOptions, Ticket
from weighbridge.cancellation import CancelledAfterwards
from weighbridge.decision import QUEUE, Lane
from weighbridge.dispatch import Dispatch, DispatchSource, note_committed_here, only_open_dispatch
from weighbridge.errors import CommittedError
from weighbridge.lanes.in_process import Chain

P = ParamSpec("P")


class BackgroundTasks(FastAPIBackgroundTasks):
    """Background tasks that land in the right lane; a drop-in for FastAPI's and Starlette's class.

    As the annotation of a parameter it is injected. Called, it makes a stand-alone facade, for plain Starlette::

        async with BackgroundTasks() as tasks:
            tasks.add_task(send, address)
        return Response(background=tasks)

    :param tasks: Items to start with, as in Starlette; they run in process.
    :param dispatcher: Whose lanes to use. Default: the one dispatcher that is open on this event loop; if there is
        none, calls run in process exactly as Starlette runs them, and one that must be queued raises.
    """

    # Of the class, for most requests leave them as they are.
    _claim: Claim | None = None
    _unstarted: Unstarted | None = None
    _stands_alone = False
    _started = False
    _takes_staying = False

    def __init__(
        self, tasks: Sequence[BackgroundTask] | None = None, *, dispatcher: DispatchSource | None = None
    ) -> None:
        super().__init__(tasks)
        self._attach(only_open_dispatch() if dispatcher is None else dispatcher.dispatch)
        self._stands_alone = True
        collect(self)

    @classmethod
    def of(
        cls, dispatch: Dispatch | None, *, tasks: list[BackgroundTask] | None = None, in_request: bool = True
    ) -> BackgroundTasks:
        """A facade over ``dispatch`` that keeps its in-process calls in the very list ``tasks``."""
        facade = cls.__new__(cls)
        facade.tasks = [] if tasks is None else tasks
        facade._attach(dispatch, in_request=in_request)  # noqa: SLF001  # our own class
        return facade

    def _attach(self, dispatch: Dispatch | None, *, in_request: bool = True) -> None:
        self._dispatch = dispatch
        self._chooser = undispatched if dispatch is None else dispatch.chooser
        #: Whether in-process calls run in the request: no dispatcher is open, or ``on_failure="stop"``.
        self.runs_like_starlette = in_request and (dispatch is None or dispatch.runs_like_starlette)
        self._queued: list[QueuedCall] = []
        self._adding = Lock()
        self._commit = Commit()

    # -- adding ---------------------------------------------------------------------------------------------

    def add_task(  # type: ignore[override]  # Starlette's returns None; a caller of that ignores the ticket
        self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Ticket:
        """Weigh one call and send it down its lane. Every keyword belongs to the task; nothing has run yet.

        :raises CommittedError: after the commit, when it could only be lost.
        :raises ConstraintError, ArgumentError, WeightError, DeclarationError: if the call cannot be accepted as
            given; no call of this facade is touched by that.
        :raises NotOpenError, BrokerNotConfiguredError: if it must be queued and cannot be.
        """
        return self._add(func, args, kwargs, NO_OPTIONS)

    def options(
        self,
        *,
        weight: float | None = None,
        lane: Lane | Literal["in_process", "queue"] | None = None,
        delay_s: float | None = None,
        expires_s: float | None = None,
    ) -> OptionsView:
        """A view of this facade whose ``add_task`` carries these overrides.

        :param weight: Instead of the declared one, in CPU milliseconds.
        :param lane: ``in_process`` or ``queue``; beats the policy, never a constraint.
        :param delay_s: Run no sooner than in so many seconds, at most 366 days; that means the queue.
        :param expires_s: Do not start it later than in so many seconds, at most 366 days; more than ``delay_s``.
        :raises OptionError: for a value that an option cannot have.
        """
        return OptionsView(
            self._add, CallOptions.checked(weight=weight, lane=lane, delay_s=delay_s, expires_s=expires_s)
        )

    def _add(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> Ticket:
        call = self._chooser.choose(func, args, kwargs, options=options, ahead=len(self.tasks))
        decision = call.decision
        ticket = Ticket(call.id, decision.lane, decision.reason, call.weight, decision.revision)
        queued = decision.lane is QUEUE
        with self._adding:  # or a thread of the endpoint's own could be told "too late" of a call that was committed
            if self._commit.state is not OPEN and (queued or not self._takes_staying):
                raise too_late(func, self._commit.state)
            if queued:
                self._queued.append((len(self.tasks), call, ticket))
            else:
                self.tasks.append(CallTask(call))
        return ticket

    def decided(self) -> Sequence[DecidedCall]:
        """Each call that was added, in order, as things stand now. On any thread."""
        with self._adding:
            return decided_calls(self.tasks, self._queued, self._commit)

    # -- the commit point -----------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Accept all calls now, all or none; after it no call can be added. Again: does nothing.

        Not cancellable: ``admission_timeout_s`` bounds the wait for room in process, ``enqueue_timeout_s`` that for the
        broker. After a refusal it may be called again, but not if calls may be in the queue: they could run twice.

        :raises EnqueueError: if the broker did not take the queued calls; no in-process call will run.
        :raises LaneFullError: if a lane has no room.
        :raises DrainingError: if the service shuts down, and no call of this request that stays could be handed over.
        """
        note_committed_here(self, self._dispatch)
        if self.commit_now():
            return
        commit = self._commit
        try:
            async with CancelledAfterwards():
                if commit.state is not OPEN and await commit.is_done():
                    return
                staying = self._close(with_queued=True) or ()
                if self._dispatch is not None and (self._queued or staying):
                    order = partial(in_order, self._claim, queued=self._queued, tasks=self.tasks)
                    await commit.run(self._dispatch, [call for _, call, _ in self._queued], staying, in_order=order)
                else:
                    commit.run_now(None, staying)
        finally:  # a cancellation may have got through once the commit had succeeded
            self._watch()

    def commit_now(self) -> bool:
        """As :meth:`commit`, if nothing has to be waited for, as for the usual request; whether it was done."""
        commit = self._commit
        if commit.state is not OPEN or (staying := self._close(with_queued=False)) is None:
            return False
        if not commit.run_now(self._dispatch, staying):
            commit.reopen()
            return False
        if self._stands_alone:
            self._watch()
        return True

    async def commit_at_gate(self) -> None:
        """:meth:`commit` where FastAPI closes the endpoint. What runs like Starlette still takes a stream's calls."""
        commit = self._commit
        if commit.state in (OPEN, COMMITTING):
            await self.commit()
            self._takes_staying = self.runs_like_starlette
        elif commit.state is State.FAILED:  # an early commit failed and was not given up: there is no 2xx
            assert commit.failure is not None
            raise commit.failure

    def discard(self) -> None:
        """Drop every call that is not in the queue yet: the endpoint failed, or gives them up after a failed commit."""
        with self._adding:
            accepted = self._commit.discard()
        if not self._started and self._dispatch is not None:
            # Committed early, on purpose, and then the endpoint failed: what stays does not run, as in Starlette.
            self._dispatch.give_up(accepted)
        self._takes_staying = False
        if self._unstarted is not None:
            self._unstarted.calls = ()

    def __enter__(self) -> Self:
        refuse_on_loop()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.discard()
        elif self._commit.state is State.DISCARDED:
            return
        elif self._dispatch is not None:
            self._dispatch.run_blocking(self.commit)
        else:
            self.commit_now()

    async def __aenter__(self) -> Self:
        if self._dispatch is not None:
            self._dispatch.refuse_elsewhere()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.discard()
        elif self._commit.state is not State.DISCARDED:
            await self.commit()

    # -- the response's background step ---------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether accepted in-process calls still wait to be handed over, or to be run like Starlette."""
        return not self._started and (bool(self._commit.accepted) or self._unbegun)

    @property
    def _unbegun(self) -> bool:
        """Whether FastAPI has run none of the items that it shares with us, since the response had others."""
        return self.runs_like_starlette and self._commit.state is COMMITTED and none_begun(self.tasks)

    def _watch(self) -> None:
        """Have the calls of a stand-alone facade named if no response runs them."""
        if self._stands_alone and self._commit.state is COMMITTED and self._unstarted is None:
            items = self.tasks if self.runs_like_starlette else ()
            self._unstarted = Unstarted([*self._commit.accepted, *calls_of(items)], self._dispatch)

    async def __call__(self) -> None:
        """Hand the in-process calls over to their lane; wait for them if ``wait_in_process`` is set.

        With ``on_failure="stop"``, and where no dispatcher is open, run them here as Starlette does.

        :raises CommittedError: if called a second time; the calls would run twice.
        """
        if self._started:
            raise CommittedError(action="a second run of the same BackgroundTasks", remedy="make one for each response")
        if self._commit.state is OPEN:
            if self._queued:
                note_late([call for _, call, _ in self._queued])
            await self.commit()
        chain = self._start(wait=None)
        if chain is not None:
            await chain.wait()
        if self.runs_like_starlette and self._commit.state is COMMITTED:
            await super().__call__()

    async def run_accepted(self, *, wait: bool | None = None) -> None:
        """Hand over what was accepted, or run it here as Starlette would. ``wait``: unlike ``wait_in_process``."""
        if self._started or not (self._commit.accepted or self._unbegun):  # as pending says it
            return
        chain = self._start(wait=wait)
        if chain is not None:
            await chain.wait()
        if self.runs_like_starlette and self._unbegun:
            await super().__call__()

    def _start(self, *, wait: bool | None) -> Chain | None:
        """Hand over what was accepted; the chain of its calls, if it is to be waited for."""
        self._started = True
        self._takes_staying = False
        if self._unstarted is not None:
            self._unstarted.calls = ()
        dispatch = self._dispatch
        if dispatch is None or not self._commit.accepted:
            return None
        accepted = self._commit.accepted
        if self._claim is not None and (run := self._claim.take()):  # by a response that was given the items
            dispatch.in_process.release(run)
            accepted = [call for call in accepted if call not in run]
        chain = dispatch.start(accepted)
        return chain if (dispatch.wait_in_process if wait is None else wait) else None

    def _close(self, *, with_queued: bool) -> Sequence[Call] | None:
        """Take no further call; those for the lane in process. ``None``: not done, for there are queued ones too."""
        with self._adding:
            if self._queued and not with_queued:
                return None
            stay = self.tasks and not self.runs_like_starlette
            self._claim = Claim(self.tasks, self._commit, self._chooser) if stay else None
            self._commit.close()
        return () if self._claim is None else self._claim.calls
