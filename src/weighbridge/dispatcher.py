"""The dispatcher: the composition root, which alone knows settings, policy, broker and both lanes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, Unpack

import anyio
import anyio.lowlevel
import anyio.to_thread
from fastapi import Depends

from weighbridge.background.injection import STATE, provider_of
from weighbridge.background.outside import OutsideTasks
from weighbridge.decision import Lane
from weighbridge.dispatch import Dispatch, publish, withdraw
from weighbridge.errors import DispatcherError, NotOpenError
from weighbridge.lanes.in_process import CallFailure, InProcessCounts, InProcessLane, OnError
from weighbridge.lanes.starter import open_starter
from weighbridge.load.loop_blocks import LoopBlockCounter, LoopBlocks
from weighbridge.load.loop_sampler import LoopSampler
from weighbridge.opening import (
    connected,
    open_in_process,
    open_queue,
    open_recorder,
    refuse_uncallable,
    report_unreachable,
    settings_from,
)
from weighbridge.outlook import lanes_of
from weighbridge.policy import Explanation, Policy
from weighbridge.policy_holder import PolicyHolder
from weighbridge.readings import LiveReadings
from weighbridge.run import runs_in_queue_lane
from weighbridge.settings import Settings, SettingsArguments
from weighbridge.shadow import Shadow
from weighbridge.task import TaskSpec, registry
from weighbridge.worker_dispatch import WorkerDispatch

if TYPE_CHECKING:
    import dramatiq


P = ParamSpec("P")

#: Makes what each worker process opens before its first call and closes after its last one.
WorkerLifespan = Callable[[], AbstractContextManager[object] | AbstractAsyncContextManager[object]]


class Dispatcher:
    """Sends each call down its lane; one for an app, open for as long as the app serves.

    ``FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])``, or ``async with dispatcher`` in a
    lifespan of your own. It can be opened again after it was closed. Two dispatchers in one process never mix.

    :param policy: A shipped name, a path to a TOML file, ``module:object``, or an object with ``decide(facts)``.
    :param shadow_policy: The same; it is asked about each call, never obeyed, and compared (:attr:`shadow`).
    :param broker: A Dramatiq broker of your own, instead of ``broker_url``; it is not closed with the dispatcher.
    :param worker_lifespan: Called once in each worker process (never in the app's): gives a context manager, sync or
        async, that is entered before the first call is fetched and left when the last one has ended. An async one runs
        on the event loop of async tasks. An error at entering ends the worker with exit code 2.
    :param on_error: Called as ``on_error(error, call)`` for each in-process call that failed for good, on the event
        loop, which it may not block; if it is async, it is awaited. What it raises is logged. With
        ``on_failure="stop"``, which lets errors out, it is not called.
    :param settings: Ready-made settings. Default: from the environment and pyproject.toml.
    :param arguments: Single settings (see :class:`Settings`); they win over all other sources.
    :raises SettingsError: if a setting is unknown or has a value that it cannot have.
    :raises PolicyError: if the policy cannot be used.
    :raises DispatcherError: if ``worker_lifespan`` or ``on_error`` cannot be called.
    """

    def __init__(
        self,
        *,
        policy: str | os.PathLike[str] | Policy | None = None,
        shadow_policy: str | os.PathLike[str] | Policy | None = None,
        broker: dramatiq.Broker | None = None,
        worker_lifespan: WorkerLifespan | None = None,
        on_error: OnError | None = None,
        settings: Settings | None = None,
        **arguments: Unpack[SettingsArguments],
    ) -> None:
        settings = settings_from(settings, arguments, policy=policy, shadow_policy=shadow_policy)
        self.settings: Final = settings
        self._broker = broker
        refuse_uncallable(
            worker_lifespan=(worker_lifespan, "one with @contextmanager or @asynccontextmanager"),
            on_error=(on_error, "one that takes the error and the call"),
        )
        self.worker_lifespan: Final = worker_lifespan
        self._on_error = on_error
        #: Whether calls can be queued at all.
        self.has_broker: Final = broker is not None or settings.broker_url is not None
        self._policies: Final = PolicyHolder(
            policy,
            shadow=shadow_policy,
            settings=settings,
            registry=registry,
            has_broker=self.has_broker,
        )
        #: The open state, which a facade uses; ``None`` while closed. It is changed by this class alone.
        self.dispatch: Dispatch | None = None
        #: The lane of the last opening, which can be asked for its counts after it was closed.
        self._in_process: InProcessLane | None = None
        self._loop_blocks: Final = LoopBlockCounter()
        self._stack: AsyncExitStack | None = None
        self._in_worker: WorkerDispatch | None = None

    # -- opening and closing --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open both lanes. An unreachable broker is logged, and only calls that must be queued are refused.

        :raises DispatcherError: if it is open already.
        :raises DeclarationError: if a registered task cannot work as declared.
        :raises BrokerNotConfiguredError: if a registered task could be queued and no broker is configured.
        :raises BrokerError: if the broker's address, or a broker of your own, cannot be used.
        """
        if self._stack is not None:
            raise DispatcherError(problem="the dispatcher is open already", remedy="open it once, in one lifespan")
        self._policies.check()
        async with AsyncExitStack() as stack:
            self._stack = stack  # a second opening meanwhile is refused
            stack.callback(self._forget)
            loop_sampler = LoopSampler.of_running_loop(
                clock=time.monotonic, block_s=self.settings.loop_block_s, counter=self._loop_blocks
            )
            stack.callback(loop_sampler.stop)  # after the lanes have closed: a drain may take its time
            loop_sampler.start()
            queue = await open_queue(self.settings, broker=self._broker, registry=registry, stack=stack)
            await open_recorder(self._policies.recorder, settings=self.settings, queue=queue, stack=stack)
            in_process = self._in_process = await open_in_process(
                self.settings, queue=queue, registry=registry, on_error=self._on_error, stack=stack
            )
            readings = LiveReadings(
                in_process=in_process,
                queue=queue,
                loop=loop_sampler,
                queues=lambda: {spec.queue for spec in registry},
                clock=time.monotonic,
            )
            stack.callback(self._policies.stop_readings)
            dispatch = Dispatch(
                chooser=self._policies.chooser(readings, queue=queue),
                in_process=in_process,
                queue=queue,
                on_failure=self.settings.on_failure,
                wait_in_process=self.settings.wait_in_process,
                token=anyio.lowlevel.current_token(),
            )
            if queue is not None or self._policies.watch is not None:
                starter = await open_starter()  # not a task group, which would wrap an error of the user's block
                stack.push_async_callback(starter.stop)
                if queue is not None:
                    starter.start("weighbridge broker check", copy_context(), partial(report_unreachable, queue))
                if self._policies.watch is not None:
                    starter.start("weighbridge policy watch", copy_context(), self._policies.watch.run)
            publish(dispatch)
            self.dispatch, self._stack = dispatch, stack.pop_all()
        return self

    def _forget(self) -> None:
        if self.dispatch is not None:  # last of all: who asks while the lanes drain is to be told so
            withdraw(self.dispatch)
        self._policies.release()
        self.dispatch = self._stack = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        stack = self._stack
        if stack is None:
            raise NotOpenError(problem="the dispatcher is not open", remedy="leave it once, where it was entered")
        return await stack.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[Mapping[str, Any]]:  # noqa: ARG002  # Starlette's signature
        """The lifespan for ``FastAPI(lifespan=…)`` and ``Starlette(lifespan=…)``; mounted apps see it too."""
        async with self:
            yield {STATE: self}

    # -- in the app -----------------------------------------------------------------------------------------

    @cached_property
    def gate(self) -> Any:
        """The dependency that commits a request's queued calls: first in ``FastAPI(dependencies=[…])``.

        Entered first, it exits last, so it commits after the request's function-scoped database work. It is a
        ``fastapi.Depends``, typed ``Any`` as FastAPI types it.
        """
        # Of function scope, as its commit is. For a function that yields nothing FastAPI would find that out anew for
        # every request, which takes longer than all that the gate does.
        return Depends(provider_of(self), scope="function")

    def tasks(self) -> OutsideTasks:
        """A context for adding tasks outside a request: ``async with`` on the loop, ``with`` on a thread.

        In a worker too, where no dispatcher has to be opened: all calls go to the queue then, whatever the policy says,
        and one that must stay in process is refused with :class:`ConstraintError`.

        :raises NotOpenError: if the dispatcher is not open.
        """
        if self._in_worker is not None and (self.dispatch is None or runs_in_queue_lane()):
            return OutsideTasks(self._in_worker.opened())
        return OutsideTasks(self._opened())

    async def join(self) -> None:
        """Return once nothing waits or runs in process. What is queued is the workers' and is not waited for.

        :raises NotOpenError: if the dispatcher is not open.
        :raises DispatcherError: in a request that has committed calls itself, and in a task that runs in process.
        """
        await self._opened().join()

    @property
    def in_process_counts(self) -> InProcessCounts:
        """What became of the in-process calls since the dispatcher was opened last. On any thread."""
        return self._in_process.counts() if self._in_process is not None else InProcessCounts()

    @property
    def in_process_failures(self) -> tuple[CallFailure, ...]:
        """The in-process calls that failed last, 100 at most, the latest at the end. On any thread."""
        return self._in_process.failures() if self._in_process is not None else ()

    @property
    def loop_blocks(self) -> Mapping[str, LoopBlocks]:
        """How often and how long in-process calls have blocked the event loop, by task, since this was opened first.

        Of blocks of ``loop_block_s`` and longer. On any thread. Two dispatchers on one loop both count all of them.
        """
        return self._loop_blocks.by_task()

    def _opened(self) -> Dispatch:
        if self.dispatch is None:
            raise NotOpenError(
                problem="the dispatcher is not open",
                remedy="open it: FastAPI(lifespan=dispatcher.lifespan), or async with dispatcher",
            )
        return self.dispatch

    # -- deciding -------------------------------------------------------------------------------------------

    def explain(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """The decision for this call as things stand now, and where it comes from; nothing is accepted or run.

        A decision, and more: the rules that were tried, and what would have to change. Its text is made for reading.
        """
        chooser = self.dispatch.chooser if self.dispatch else self._policies.unopened()
        return chooser.explain(func, args, kwargs)

    @property
    def policy(self) -> Policy:
        """The policy that decides now. Set it to whatever the setting takes, or to a policy object.

        The new one is loaded and checked completely (its tasks too, while the dispatcher is open) before it replaces
        the old one; the next call obeys it. On any thread: to read a file takes a moment, so an async function leaves
        that to one (``anyio.to_thread``).

        Setting raises :class:`PolicyError` if it cannot be used, and :class:`BrokerNotConfiguredError` if it could
        queue a task and there is no broker; then the old one stays.
        """
        return self._policies.policy

    @policy.setter
    def policy(self, reference: str | os.PathLike[str] | Policy) -> None:
        self._policies.appoint(reference)

    @property
    def policy_failures(self) -> Mapping[str, int]:
        """How often a policy in code has failed and its default lane was taken, by task. On any thread."""
        return self._policies.failures.by_task()

    @property
    def shadow(self) -> Shadow | None:
        """The shadow policy, if there is one, and what it would have decided. On any thread."""
        return self._policies.shadow

    def lanes_of(self, spec: TaskSpec) -> frozenset[Lane]:
        """The lanes that a task's calls may take: by its constraint, or by what the policy can answer for it."""
        return lanes_of(spec, self.policy)

    # -- for workers ----------------------------------------------------------------------------------------

    def worker_broker(self) -> dramatiq.Broker:
        """A broker for a worker, with an actor bound for each registered task that can be queued.

        :raises BrokerNotConfiguredError: if there is none.
        :raises BrokerError: if it cannot be used.
        """
        broker = connected(self.settings) if self._broker is None else self._broker
        self._in_worker = WorkerDispatch.over(broker, registry=registry, policy=self.policy, settings=self.settings)
        return broker
