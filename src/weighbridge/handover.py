"""The hand-over: in-process calls that wait at shutdown go to the queue, under their ids."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from weighbridge.call import Call, CallOptions
from weighbridge.constraint import target_of
from weighbridge.errors import DeclarationError, UnavailableError
from weighbridge.events import emit
from weighbridge.lanes.in_process import HandedOver
from weighbridge.task import Registry

if TYPE_CHECKING:
    from weighbridge.lanes.queue import QueueLane  # loads Dramatiq, which a service without a queue never needs

logger: Final = logging.getLogger("weighbridge.in_process")

HAND_OVER_REFUSED: Final = "in_process.hand_over_refused"
HAND_OVER_FAILED: Final = "in_process.hand_over_failed"


class _Fate(Enum):
    """How one write ended for its calls."""

    TAKEN = "taken"
    KEPT = "kept"
    UNKNOWN = "unknown"


def _why_it_stays(call: Call, registry: Registry) -> str | None:
    if call.options.lane is not None:
        return "asked for by options(lane='in_process')"
    if call.spec is None:
        return "its function is not declared"
    try:
        constraint = target_of(call.func, registry).constraint
    except DeclarationError as error:  # declared anew since it was added, in a way that cannot be obeyed
        return error.problem
    return None if constraint is None else constraint.decision.reason


class NoHandOver:
    """Where there is no queue: every call stays, and says so for a reason of its own, if it has one."""

    repeatable = False

    def __init__(self, *, registry: Registry) -> None:
        self._registry = registry

    def obstacle(self, call: Call) -> str:
        """Why a call must stay."""
        return _why_it_stays(call, self._registry) or "there is no broker"

    async def hand_over(self, calls: Mapping[Call, int]) -> HandedOver:
        """Nothing is taken."""
        return HandedOver(kept=[*calls])


class QueueHandOver:
    """Hands calls over that no constraint and no caller keeps here.

    The arguments are encoded now, by value, as they are at this moment. What was left of ``expires_s`` is left, and of
    the retries too.

    :param clock: That of ``Call.added_at_s``.
    """

    def __init__(
        self,
        queue: QueueLane,
        *,
        registry: Registry,
        arguments_limit_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._registry = registry
        self._arguments_limit_bytes = arguments_limit_bytes
        self._clock = clock

    def obstacle(self, call: Call) -> str | None:
        """Why a call must stay; ``None`` if the queue may have it."""
        return _why_it_stays(call, self._registry)

    @property
    def repeatable(self) -> bool:
        """Whether the broker knows a call again by its id."""
        return self._queue.idempotent

    async def hand_over(self, calls: Mapping[Call, int]) -> HandedOver:
        """Have the queue take ``calls``, each of which has run so often. Not cancellable.

        ``enqueue_timeout_s`` bounds it, for as long as the broker is well once for each call that it does not take.
        """
        if self._queue.refuses:  # as it will say when it is asked, and this is asked again and again
            return HandedOver(kept=[*calls])
        refused: dict[Call, str] = {}
        encoded: dict[Call, Call] = {}
        for call, attempts in calls.items():
            try:
                encoded[call] = self._encoded(call, attempts)
            except Exception as error:  # noqa: BLE001  # whatever it is, this call alone stays
                refused[call] = self._refusal(call, error)
        ended: dict[_Fate, list[Call]] = {fate: [] for fate in _Fate}
        groups: list[list[Call]] = [[*encoded]] if encoded else []
        while groups:
            group = groups.pop(0)
            fate = await self._commit([encoded[call] for call in group])
            if fate is _Fate.KEPT and len(group) > 1 and not self._queue.refuses:
                # The broker is well: one of them may be what it does not take, or they are more than may wait for it.
                groups += [group[: len(group) // 2], group[len(group) // 2 :]]
            else:
                ended[fate] += group
        return HandedOver(
            taken=ended[_Fate.TAKEN], unknown=ended[_Fate.UNKNOWN], kept=ended[_Fate.KEPT], refused=refused
        )

    async def _commit(self, calls: Sequence[Call]) -> _Fate:
        try:
            await self._queue.commit(calls)
        except UnavailableError as error:
            return _Fate.UNKNOWN if error.unknown else _Fate.KEPT
        except Exception as error:  # noqa: BLE001  # a fault of ours, at the worst moment: nothing may be lost by it
            emit(logger, HAND_OVER_FAILED, level=logging.ERROR, error=error, calls=len(calls))
            return _Fate.UNKNOWN
        return _Fate.TAKEN

    def _encoded(self, call: Call, attempts: int) -> Call:
        spec = call.spec
        assert spec is not None  # or it had an obstacle
        expires_s = call.options.expires_s
        if expires_s is not None:
            # One whose time has passed goes all the same, and ends in the queue as what it is: expired.
            expires_s = max(0.001, expires_s - (self._clock() - call.added_at_s))
        options = CallOptions(weight=call.options.weight, expires_s=expires_s)
        self._queue.check(spec, options)
        payload = spec.codec.encode(call.args, call.kwargs)
        spec.codec.check_size(*payload, limit_bytes=self._arguments_limit_bytes)
        same: dict[str, Any] = {each.name: getattr(call, each.name) for each in fields(call)}
        return Call(**{**same, "options": options, "payload": payload, "attempts": attempts})

    def _refusal(self, call: Call, error: Exception) -> str:
        emit(
            logger,
            HAND_OVER_REFUSED,
            level=logging.WARNING,
            task=call.name,
            call_id=call.id,
            problem=getattr(error, "problem", type(error).__name__),
        )
        return f"{type(error).__name__}, see {HAND_OVER_REFUSED}"
