"""Choosing a call's lane: weigh it, look at its constraint, then at its options, then ask the policy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import FunctionType
from typing import Any, Final

from weighbridge.appointed import Appointed, PolicyFailures, static_facts_of
from weighbridge.arguments.drift_check import DriftCheck
from weighbridge.arguments.limit import size_of
from weighbridge.call import NO_OPTIONS, REFUSED_RULE, Call, CallOptions, Payload, new_call_id
from weighbridge.constraint import Constraint, Target, target_of
from weighbridge.decision import IN_PROCESS, QUEUE, BrokerReading, Decision, Facts, InProcessReading, LoopReading
from weighbridge.errors import (
    ArgumentError,
    BrokerNotConfiguredError,
    DispatcherError,
    NotOpenError,
)
from weighbridge.events import emit
from weighbridge.policy import Explanation, Policy
from weighbridge.settings import DEFAULT_ARGUMENTS_LIMIT_BYTES, ArgumentsCheck
from weighbridge.shadow import ShadowCounter
from weighbridge.surroundings import Queue, Readings
from weighbridge.task import OnUnavailable, Registry, TaskSpec

logger: Final = logging.getLogger("weighbridge.chooser")

RUNS_HERE: Final = "chooser.runs_here"
DECIDED: Final = "chooser.decided"

_UNREAD_IN_PROCESS: Final = InProcessReading()
_UNREAD_LOOP: Final = LoopReading()
_UNREAD_BROKER: Final = BrokerReading()
_ASKED_IN_PROCESS: Final = Decision(lane=IN_PROCESS, reason="asked for by options(lane='in_process')", rule="options")
_ASKED_QUEUE: Final = Decision(lane=QUEUE, reason="asked for by options(lane='queue')", rule="options")
_DELAYED: Final = Decision(lane=QUEUE, reason="asked for by options(delay_s=…): only the queue waits", rule="options")
_RUN_HERE: Final = Decision(
    lane=IN_PROCESS, reason="the queue is not available, and on_unavailable='run_here'", rule=REFUSED_RULE
)
_NO_DISPATCHER: Final = Decision(
    lane=IN_PROCESS, reason="no dispatcher is open, so it runs as Starlette would run it", rule="no dispatcher"
)


class Chooser:
    """Chooses a lane for each call. Stateless but for its policy.

    Without a policy (no dispatcher is open) a call that may stay stays.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        policy: Policy | None,
        revision: str | None = None,
        readings: Readings | None = None,
        queue: Queue | None = None,
        failures: PolicyFailures | None = None,
        shadow: ShadowCounter | None = None,
        arguments_check: ArgumentsCheck = ArgumentsCheck.OFF,
        arguments_check_share: float = 1.0,
        arguments_limit_bytes: int = DEFAULT_ARGUMENTS_LIMIT_BYTES,
        new_id: Callable[[], str] = new_call_id,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._readings = readings
        self._queue = queue
        self._arguments_limit_bytes = arguments_limit_bytes
        self._drift_check = DriftCheck.of(
            arguments_check, share=arguments_check_share, limit_bytes=arguments_limit_bytes
        )
        self._new_id = new_id
        self._clock = clock
        self._failures = PolicyFailures() if failures is None else failures
        self._shadow = shadow
        self._appointed: Appointed | None = None
        if policy is not None:
            self.use(policy, revision=revision)

    def use(self, policy: Policy, *, revision: str | None = None) -> None:
        """Let another policy decide from the next call on; its revision, if that is known. On any thread."""
        # One assignment, since calls are chosen on other threads meanwhile.
        self._appointed = Appointed(policy, failures=self._failures, revision=revision)

    @property
    def policy(self) -> Policy | None:
        """The policy that decides now."""
        appointed = self._appointed
        return None if appointed is None else appointed.policy

    def choose(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        options: CallOptions = NO_OPTIONS,
        ahead: int = 0,
    ) -> Call:
        """Make a call: weigh it and choose its lane; encode its arguments if that is the queue. On any thread.

        :param ahead: Calls of the same request that are to stay, and wait before this one.
        :raises DeclarationError: if the function's declaration cannot be obeyed as given.
        :raises WeightError: if its weight function fails.
        :raises ConstraintError: if an option asks for a lane that its constraint forbids.
        :raises ArgumentError: if it goes to the queue with arguments that do not survive it, or are too large for it;
            if it stays, under ``arguments_check="strict"``, as well.
        :raises OptionError: if it goes to the queue with an option that the broker cannot obey.
        :raises DuplicateTaskError, BrokerError: if it goes to the queue, and its task was declared since the opening
            in a way that the broker cannot obey.
        :raises NotOpenError: if it must be queued and no dispatcher is open.
        :raises BrokerNotConfiguredError: if it must be queued and there is no broker.
        :raises PolicyError: if the policy fails, or answers with something else than a decision.
        """
        kwargs = {} if kwargs is None else kwargs
        known: Target | None = self._registry.learned.get(func) if type(func) is FunctionType else None
        target = known or self._target(func)
        spec = target.spec
        weight = options.weight
        if weight is None:
            weight = spec.weigh(args, kwargs) if spec is not None else 0.0
        decision, payload = self._decide(target, weight, args, kwargs, options, ahead)
        call_id = self._new_id()
        if decision.lane is QUEUE:
            if self._queue is None:
                raise self._no_queue(target.name, decision)
            assert spec is not None  # only a declared task is without the constraint to stay
            self._queue.check(spec, options)
            if payload is None:
                payload = spec.codec.encode(args, kwargs)
            spec.codec.check_size(*payload, limit_bytes=self._arguments_limit_bytes)
        else:
            payload = None
            if decision is _RUN_HERE and self._queue is not None:
                self._queue.note_ran_here(1)
                emit(logger, RUNS_HERE, task=target.name, call_id=call_id)
            if self._drift_check is not None and target.constraint is None and spec is not None:
                self._drift_check.look(spec.name, spec.codec, args, kwargs)
        if logger.isEnabledFor(logging.DEBUG):
            emit(
                logger,
                DECIDED,
                level=logging.DEBUG,
                task=target.name,
                call_id=call_id,
                lane=str(decision.lane),
                rule=decision.rule,
                revision=decision.revision or None,
            )
        context, now_s = copy_context(), self._clock()
        return Call(  # by position: by keyword it takes two to three times as long
            call_id, target.name, func, args, kwargs, spec, target.is_async,  # what
            decision, context, now_s, weight, options, payload,  # how
        )  # fmt: skip

    def explain(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Explanation:
        """The decision that :meth:`choose` would obey now; nothing is accepted, and no queue is needed."""
        target, appointed = self._target(func), self._appointed
        spec = target.spec
        weight = spec.weigh(args, kwargs) if spec is not None else 0.0
        if spec is None or target.constraint is not None or appointed is None:
            decision, _ = self._decide(target, weight, args, kwargs, NO_OPTIONS, 0)
            declared: dict[str, Any] = static_facts_of(spec) if spec is not None else {"is_async": target.is_async}
            facts = Facts(**{**declared, "name": target.name, "weight": weight})
            why = "" if target.constraint is None else target.constraint.reason
            return Explanation.of(decision, facts=facts, constraint=why)
        facts, _ = self._facts(appointed, spec, weight, args, kwargs, 0)
        told = appointed.explain(facts)
        return told.overruled_by(_RUN_HERE) if self._stays_here(told, spec) else told

    def constraint(self, spec: TaskSpec) -> Constraint | None:
        """The constraint of a declared task.

        :raises DeclarationError: if its declaration cannot be obeyed.
        """
        return self._target(spec.func).constraint

    def _target(self, func: Callable[..., Any]) -> Target:
        """What is known of a function; of a plain one it is remembered, until a task is declared or forgotten."""
        if type(func) is not FunctionType:
            return target_of(func, self._registry)
        # Taken before anything is looked up: what was learned before a change must not be kept after it.
        learned = self._registry.learned
        target: Target | None = learned.get(func)
        if target is None:
            target = target_of(func, self._registry)
            # One that another function has taken the name of is not remembered: that would keep it alive.
            if target.spec is None or target.spec is self._registry.get(target.name):
                learned[func] = target
        return target

    def _decide(
        self,
        target: Target,
        weight: float,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: CallOptions,
        ahead: int,
    ) -> tuple[Decision, Payload | None]:
        constraint = target.constraint
        if options.delay_s is not None:
            if constraint is not None and constraint.lane is not QUEUE:
                raise constraint.refusal(target.name, "options(delay_s=…)")
            return (_DELAYED if constraint is None else constraint.decision), None
        if options.lane is not None:
            if constraint is not None and constraint.lane is not options.lane:
                raise constraint.refusal(target.name, f"options(lane='{options.lane}')")
            return (_ASKED_QUEUE if options.lane is QUEUE else _ASKED_IN_PROCESS), None
        if constraint is not None:
            return constraint.decision, None
        appointed = self._appointed
        if appointed is None:
            return _NO_DISPATCHER, None
        assert target.spec is not None  # an undeclared function has a constraint
        return self._ask(appointed, target.spec, weight, args, kwargs, ahead)

    def _ask(
        self,
        appointed: Appointed,
        spec: TaskSpec,
        weight: float,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        ahead: int,
    ) -> tuple[Decision, Payload | None]:
        payload = None
        decision = appointed.static(spec, weight)
        if decision is None:
            facts, payload = self._facts(appointed, spec, weight, args, kwargs, ahead)
            decision = appointed.decide(facts)
        if self._stays_here(decision, spec):
            return _RUN_HERE, None
        if self._shadow is not None:
            self._shadow.compare(
                spec, weight, decision, lambda other: self._facts(other, spec, weight, args, kwargs, ahead)[0]
            )
        return decision, payload

    def _stays_here(self, decision: Decision, spec: TaskSpec) -> bool:
        """Whether a call that the policy queues stays all the same. What asks for the queue itself is never met so."""
        if decision.lane is not QUEUE or spec.on_unavailable is not OnUnavailable.RUN_HERE:
            return False
        return self._queue is not None and self._queue.refuses

    def _facts(
        self,
        appointed: Appointed,
        spec: TaskSpec,
        weight: float,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        ahead: int,
    ) -> tuple[Facts, Payload | None]:
        """What the policy looks at, and the encoded arguments if it looks at their size."""
        payload, payload_bytes = self._payload(spec, args, kwargs) if appointed.reads_payload else (None, None)
        readings = self._readings
        in_process, loop, broker = _UNREAD_IN_PROCESS, _UNREAD_LOOP, _UNREAD_BROKER
        if readings is not None:
            if appointed.reads_in_process:
                in_process = readings.in_process(ahead=ahead)
            if appointed.reads_loop:
                loop = readings.loop()
            if appointed.reads_broker:
                broker = readings.broker(spec.queue)
        return Facts(  # by position, as the call below
            spec.name, weight, payload_bytes, spec.queue, spec.priority, spec.tags, spec.is_async,
            in_process, loop, broker,
        ), payload  # fmt: skip

    def _payload(
        self, spec: TaskSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Payload | None, int | None]:
        """The encoded arguments and their number of bytes; unknown if they cannot be encoded."""
        try:
            payload = spec.codec.encode(args, kwargs)
        except ArgumentError:
            return None, None  # if the policy queues it all the same, encoding it then raises
        return payload, size_of(*payload)

    def _no_queue(self, task: str, decision: Decision) -> DispatcherError:
        if self._appointed is None:
            return NotOpenError(
                problem=f"task {task!r} must be queued ({decision.reason}), and no dispatcher is open",
                remedy="open one: FastAPI(lifespan=dispatcher.lifespan), or async with dispatcher",
            )
        return BrokerNotConfiguredError(
            problem=f"task {task!r} must be queued ({decision.reason}), and no broker is configured",
            remedy="set WEIGHBRIDGE_BROKER_URL, or give Dispatcher(broker_url=…)",
        )
