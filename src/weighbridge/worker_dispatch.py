"""Dispatch inside a worker: what a queued task adds goes to the queue, for there is no other lane."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import anyio

from weighbridge.call import Call, CallOptions, Payload
from weighbridge.chooser import Chooser
from weighbridge.constraint import Target
from weighbridge.decision import Decision, Lane
from weighbridge.dispatch import Dispatch
from weighbridge.errors import ConstraintError, NotOpenError
from weighbridge.outlook import crossing_tasks
from weighbridge.policy import Policy
from weighbridge.settings import Settings
from weighbridge.task import Registry

if TYPE_CHECKING:
    import dramatiq

    from weighbridge.lanes.queue import QueueLane

_ADDED_IN_A_WORKER: Final = Decision(
    lane=Lane.QUEUE, reason="was added by a queued task, and a worker has no in-process lane", rule="worker"
)


class WorkerChooser(Chooser):
    """Chooses the queue for every call that may take it, and refuses the others. No policy is asked."""

    def _decide(
        self,
        target: Target,
        weight: float,  # noqa: ARG002  # a policy would ask for it
        args: tuple[Any, ...],  # noqa: ARG002  # as above
        kwargs: Mapping[str, Any],  # noqa: ARG002  # as above
        options: CallOptions,
        ahead: int,  # noqa: ARG002  # as above
    ) -> tuple[Decision, Payload | None]:
        constraint = target.constraint
        if constraint is not None and constraint.lane is Lane.IN_PROCESS:
            raise _no_lane(target.name, f"it {constraint.reason}", "call the function itself, or let the app add it")
        if options.lane is Lane.IN_PROCESS:
            raise _no_lane(
                target.name, "options(lane='in_process')", "drop that option here, or call the function itself"
            )
        return (_ADDED_IN_A_WORKER if constraint is None else constraint.decision), None


class WorkerDispatch(Dispatch):
    """As :class:`Dispatch`, with the queue alone; on any thread, and on any event loop.

    The queue is opened by the first call, so a worker whose tasks add none has no publisher. It can be used again after
    it was closed.
    """

    def __init__(self, broker: dramatiq.Broker, *, registry: Registry, policy: Policy, settings: Settings) -> None:
        self._broker = broker
        self._registry = registry
        self._policy = policy
        self._settings = settings
        self._opening = threading.Lock()
        self.queue: QueueLane | None = None
        self.runs_like_starlette = False
        self.wait_in_process = False

    @classmethod
    def over(cls, broker: dramatiq.Broker, *, registry: Registry, policy: Policy, settings: Settings) -> Self:
        """Make ``broker`` a worker's: bind each task that can be queued, and let its run know its call and add others.

        :raises BrokerError: if it cannot be used.
        :raises DuplicateTaskError: if an actor of the user's own has a task's name.
        """
        from weighbridge.lanes.queue import (  # noqa: PLC0415  # as in opened()
            AfterWorker,
            bind,
            check_broker,
            let_messages_be_found,
        )

        check_broker(broker)
        for spec in crossing_tasks(registry):
            bind(broker, spec, arguments_limit_bytes=settings.arguments_limit_bytes)
        let_messages_be_found(broker)
        dispatch = cls(broker, registry=registry, policy=policy, settings=settings)
        broker.add_middleware(AfterWorker(dispatch.close))
        return dispatch

    def opened(self) -> WorkerDispatch:
        """This, with its queue open. No I/O."""
        from weighbridge.lanes.queue import QueueLane  # noqa: PLC0415  # a service without a queue never loads Dramatiq

        with self._opening:
            if self.queue is None:
                queue = QueueLane(
                    broker=self._broker,
                    timeout_s=self._settings.enqueue_timeout_s,
                    waiting_limit=self._settings.publisher_waiting,
                    close_broker=False,
                    arguments_limit_bytes=self._settings.arguments_limit_bytes,
                )
                queue.open()
                self.chooser = WorkerChooser(
                    registry=self._registry,
                    policy=self._policy,
                    queue=queue,
                    arguments_limit_bytes=self._settings.arguments_limit_bytes,
                )
                self.queue = queue
        return self

    def close(self) -> None:
        """Write what waits and end the publisher; blocks for ``enqueue_timeout_s`` at most. Not open: does nothing."""
        with self._opening:
            queue, self.queue = self.queue, None
        if queue is not None:
            queue.close()

    async def commit(self, queued: Sequence[Call], staying: Sequence[Call]) -> Sequence[Call]:  # noqa: ARG002  # none stays
        """As :meth:`Dispatch.commit`; no call is kept here, whatever its ``on_unavailable``: the task can be retried.

        :raises EnqueueError: if the broker did not take the calls, or may not have.
        :raises NotOpenError: if the worker has shut down meanwhile.
        """
        queue = self.queue
        if queue is None:  # a run that outlives its worker's shutdown
            raise NotOpenError(
                problem="the worker has shut down, so the calls of this run are not in the queue",
                remedy="none: the run ends unsuccessful, and its own call is retried",
            )
        await queue.commit(queued)
        return ()

    def give_up(self, calls: Sequence[Call]) -> None:
        """Nothing was accepted that could be given up."""

    def run_blocking(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine on a loop of this thread's own: a commit waits for the publisher and for nothing else."""
        anyio.run(run)

    def refuse_elsewhere(self) -> None:
        """Each event loop will do."""


def _no_lane(task: str, why: str, remedy: str) -> ConstraintError:
    return ConstraintError(
        task=task, problem=f"must stay in process ({why}), and a worker has no in-process lane", remedy=remedy
    )
