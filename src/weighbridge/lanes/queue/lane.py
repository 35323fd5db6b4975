"""The queue lane: takes the queued calls of a request, and answers once the broker has all of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Final

import dramatiq

from weighbridge.call import Call, CallOptions
from weighbridge.cancellation import to_the_end
from weighbridge.errors import BrokerError, EnqueueError, NotOpenError, OptionError, UnavailableError
from weighbridge.lanes.queue.actor import TypedActor, bind
from weighbridge.lanes.queue.availability import Availability
from weighbridge.lanes.queue.batch import Batch
from weighbridge.lanes.queue.call_message import CallMessage
from weighbridge.lanes.queue.counts import QueueCounter, QueueCounts
from weighbridge.lanes.queue.failure import Failure, broker_error, unreached
from weighbridge.lanes.queue.message_options import POLICY_REVISION
from weighbridge.lanes.queue.publisher import Publisher
from weighbridge.lanes.queue.waiter import Waiter, Waiters
from weighbridge.lanes.queue.writer import Item
from weighbridge.lanes.queue.writer_choice import writer_for
from weighbridge.settings import DEFAULT_ARGUMENTS_LIMIT_BYTES
from weighbridge.task import TaskSpec


class QueueLane:
    """Sends calls to the queue of their task, through one publisher thread. A closed one can be opened anew.

    :param timeout_s: Seconds in which the broker must accept a request's calls.
    :param waiting_limit: Calls that may wait for the broker.
    :param close_broker: Whether :meth:`close` closes the broker too, as its maker does.
    :param arguments_limit_bytes: What the arguments of one call may be, encoded.
    """

    def __init__(
        self,
        *,
        broker: dramatiq.Broker,
        timeout_s: float,
        waiting_limit: int,
        close_broker: bool,
        arguments_limit_bytes: int = DEFAULT_ARGUMENTS_LIMIT_BYTES,
    ) -> None:
        self.broker: Final = broker
        self._arguments_limit_bytes = arguments_limit_bytes
        self._timeout_s = timeout_s
        self._waiting_limit = waiting_limit
        self._close_broker = close_broker
        self._writer = writer_for(broker)
        self._waiters = Waiters(timeout_s=timeout_s)
        self._publisher: Publisher | None = None
        self._closed = False
        # Until it is opened nothing is written, so a ping tells all that there is to know.
        self._availability = Availability(broker=self._writer.address, by_ping=True)
        self._counter = QueueCounter()
        self._binding = threading.Lock()

    # -- opening and closing --------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the publisher. In a process that forks, open it after the fork, in each child."""
        if self._publisher is None:
            self._availability = Availability(broker=self._writer.address)
            self._publisher = Publisher(
                writer=self._writer,
                timeout_s=self._timeout_s,
                waiting_limit=self._waiting_limit,
                availability=self._availability,
                queue=self._any_queue,
            )
            self._publisher.start()
            self._closed = False

    def close(self) -> None:
        """Take no more calls, and write those that wait. Blocks for up to ``timeout_s`` seconds.

        What the broker has not taken by then is refused where it is awaited, and logged by number.
        """
        if self._publisher is None:
            return
        ended = self._publisher.stop(self._timeout_s)
        self._publisher = None
        self._closed = True
        self._availability.end()
        # A broker may not be closed under a thread that is still in it. That thread closes what is its own.
        if self._close_broker and ended:
            self.broker.close()
            client = getattr(self.broker, "client", None)
            if client is not None:  # the broker's maker made it too, and a broker leaves it open
                client.close()

    def bind(self, spec: TaskSpec) -> TypedActor:
        """Make a task known to the broker, without I/O of ours. Raises what :func:`bind` of this package does."""
        with self._binding:
            return bind(self.broker, spec, arguments_limit_bytes=self._arguments_limit_bytes)

    def check(self, spec: TaskSpec, options: CallOptions) -> None:
        """Make sure that the broker can do what a call asks for, and knows its task. On any thread.

        Without I/O of ours; but a task that was declared since the opening is bound, which calls the broker's
        ``declare_queue``, and in a broker of the user's own that may block.

        :raises OptionError: if it cannot do what an option asks for.
        :raises DuplicateTaskError, BrokerError: as :meth:`bind`, for a task that was declared since the opening.
        """
        actor = self.broker.actors.get(spec.name)
        if not isinstance(actor, TypedActor) or actor.spec is not spec:
            self.bind(spec)
        if options.expires_s is not None and "max_age" not in self.broker.actor_options:
            raise OptionError(
                task=spec.name,
                problem=f"was given expires_s={options.expires_s}, and the broker has no AgeLimit",
                remedy="add it: broker.add_middleware(dramatiq.middleware.AgeLimit())",
            )

    # -- committing -----------------------------------------------------------------------------------------

    async def commit(self, calls: Sequence[Call]) -> None:
        """Return once the broker has all of ``calls``, in this order.

        Not cancellable: ``timeout_s`` bounds it. Were a cancelled request to leave earlier, its queued calls could run
        without those that stay in process. A cancellation of asyncio's own is left to the caller, as
        :func:`to_the_end` says.

        :raises EnqueueError: if the broker did not accept them in ``timeout_s`` seconds, or at once while the breaker
            is not closed. Then it has none of them, or ``unknown`` says that it may have some.
        :raises LaneFullError: if too many calls wait.
        :raises OptionError, DuplicateTaskError, BrokerError: for a call that was never checked, as :meth:`check`.
        :raises NotOpenError: if the lane was never opened.
        """
        if not calls:
            return
        waiter = self._waiters.here()
        publisher, batch = self._submit(calls, waiter)
        try:
            woken = await to_the_end(waiter.wait)
        except BaseException:  # the loop is ending
            publisher.give_up(batch)
            raise
        self._conclude(batch, batch.failure if woken else publisher.give_up(batch))

    def commit_blocking(self, calls: Sequence[Call]) -> None:
        """As :meth:`commit`, from a thread that may be blocked. Raises the same."""
        if not calls:
            return
        waiter = self._waiters.for_thread()
        publisher, batch = self._submit(calls, waiter)
        woken = waiter.wait_blocking()
        self._conclude(batch, batch.failure if woken else publisher.give_up(batch))

    def _submit(self, calls: Sequence[Call], waiter: Waiter) -> tuple[Publisher, Batch]:
        publisher = self._publisher
        if publisher is None and self._closed:
            raise EnqueueError(
                problem="the queue lane is closed, as this service shuts down",
                tasks=[call.name for call in calls],
                unknown=False,
                retry_after_s=self._availability.retry_after_s(),
            )
        if publisher is None:
            raise NotOpenError(problem="the queue lane is not open", remedy="open the dispatcher before calls are made")
        batch = Batch([self._item(call) for call in calls], waiter=waiter)
        if self._availability.refuses and (refusal := self._availability.refusal()) is not None:
            self._conclude(batch, refusal)
        try:
            publisher.submit(batch)
        except UnavailableError:
            self._counter.not_accepted(len(calls), unknown=False)
            raise
        return publisher, batch

    def _conclude(self, batch: Batch, failure: Failure | None) -> None:
        calls = len(batch.items)
        if failure is None:
            self._counter.accepted(calls)
            return
        self._counter.not_accepted(calls, unknown=failure.unknown)
        raise EnqueueError(
            problem=failure.problem,
            tasks=batch.tasks,
            unknown=failure.unknown,
            retry_after_s=self._availability.retry_after_s(),
        ) from failure.cause

    def _item(self, call: Call) -> Item:
        spec, payload = call.spec, call.payload
        if spec is None or payload is None:
            raise ValueError(f"call {call.id} of {call.name!r} was not encoded for the queue")
        self.check(spec, call.options)
        options: dict[str, object] = {}
        if call.options.expires_s is not None:
            options["max_age"] = math.ceil(call.options.expires_s * 1_000)
        if call.decision.revision:
            options[POLICY_REVISION] = call.decision.revision
        if call.attempts:
            options["retries"] = call.attempts
        args, kwargs = payload
        message = CallMessage(
            queue_name=spec.queue,
            actor_name=spec.name,
            args=tuple(args),
            kwargs=kwargs,
            options=options,
            message_id=call.id,
        )
        delay_s = call.options.delay_s
        return message, None if delay_s is None else math.ceil(delay_s * 1_000)

    # -- how the broker is ----------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Calls that were handed to the publisher and are neither accepted nor refused."""
        return 0 if self._publisher is None else self._publisher.waiting

    def available(self) -> bool | None:
        """Whether the breaker is closed; ``None`` before the first exchange with the broker."""
        return self._availability.known()

    @property
    def refuses(self) -> bool:
        """Whether the breaker is not closed, so that calls are refused without asking the broker."""
        return self._availability.refuses

    @property
    def idempotent(self) -> bool:
        """Whether the broker knows a call again by its id, so that a second commit of it adds nothing."""
        return self._writer.idempotent

    def counts(self) -> QueueCounts:
        """What became of the calls so far, over all openings of this lane."""
        return self._counter.counts()

    def note_ran_here(self, calls: int) -> None:
        """So many calls took the lane in process, for this one was not available."""
        self._counter.ran_here(calls)

    def ping(self) -> None:
        """Ask the broker for an answer; blocks, so call it on a thread.

        If there is none, the breaker opens. An answer does not close it: a server that is out of memory answers too.
        In a lane that was never opened, which writes nothing, it does.

        :raises BrokerError: if it does not answer, with what to do.
        """
        availability, publisher = self._availability, self._publisher
        try:
            self._writer.ping()
        except Exception as error:
            failure = unreached(error, address=self._writer.address)
            availability.failed(failure)
            if publisher is not None:
                publisher.look_up()
            raise broker_error(failure, address=self._writer.address) from error
        availability.answered()

    def waiting_in(self, queue: str) -> int:
        """The messages that wait in one queue; blocks, so call it on a thread.

        :raises BrokerError: if the broker does not answer, or is of a kind that cannot tell.
        """
        waiting = getattr(self.broker, "waiting", None)
        if not callable(waiting):
            raise BrokerError(
                broker=self._writer.address,
                problem="cannot tell how many messages wait",
                remedy="use a policy that does not ask for broker.waiting, or a redis:// broker_url",
            )
        try:
            return int(waiting(queue))
        except Exception as error:
            address = self._writer.address
            raise broker_error(unreached(error, address=address), address=address) from error

    def _any_queue(self) -> str:
        return min(self.broker.get_declared_queues(), default="default")
