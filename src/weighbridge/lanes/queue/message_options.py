"""The options of a message as a worker reads it: which are obeyed, within which bounds, and which are dropped.

Whoever can write into a queue can write options, and Dramatiq's middleware obeys what it finds: a billion retries
without a pause, no time limit, another task to run. So only known names pass, each with values of its kind, and a
message may ask for less than its task declares (fewer retries, longer waits, a shorter time limit), never for more.
``docs/how-to/security.md`` has the table.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import dramatiq
from dramatiq.middleware import GroupCallbacks, Retries, TimeLimit

from weighbridge.events import emit
from weighbridge.lanes.queue.unknown_task import SINCE
from weighbridge.policy.revision import is_revision
from weighbridge.task import LONGEST_S

logger: Final = logging.getLogger("weighbridge.queue")

OPTION_DROPPED: Final = "queue.option_dropped"

#: The option that names the revision of the policy which queued the call, for logs.
POLICY_REVISION: Final = "policy_revision"
#: Characters of a traceback that a message carries from one attempt to the next.
TRACEBACK_LIMIT: Final = 20_000
#: Attempts of one message. Far more than anyone declares, and far from where a negative or endless count leads.
_MOST_ATTEMPTS: Final = 1_000_000
_LONGEST_MS: Final = LONGEST_S * 1_000
#: Names that are told as dropped, in one process: they come from outside, and are kept to tell each only once.
_MOST_TOLD: Final = 50
_LONGEST_NAME: Final = 40
#: What another broker of Dramatiq's writes for itself, and nobody obeys here. ``eta``: with it a worker holds a message
#: back in its own memory. Dropped without a word, since messages that are moved from there carry it.
_OF_OTHER_BROKERS: Final = frozenset({"eta", "redis_message_id", "broker_priority"})
#: ``SINCE`` ends with the wait: a retry of the call may wait again, for as long.
_DROPPED_SILENTLY: Final = _OF_OTHER_BROKERS | {SINCE}
#: A class and a function, which no JSON can carry: what stands there costs Dramatiq's worker a thread.
_NEVER: Final = frozenset({"throws", "retry_when"})

_Rule = Callable[[Any], bool]


class UnreadableOptionError(ValueError):
    """A count or an age that is none: dropping it would run the call too often, or when it is too old."""


class MessageOptions:
    """The rules of one broker: its middleware says which options there are, its actors what they declare.

    :param extra: Names that pass with any value, for middleware that says nowhere what it reads.
    """

    def __init__(self, broker: dramatiq.Broker, *, extra: Iterable[str] = ()) -> None:
        self._broker = broker
        self._extra = frozenset(extra)
        self._told: set[str] = set()

    @staticmethod
    def check(message: dramatiq.Message[Any]) -> None:
        """Look at what cannot be dropped.

        :raises UnreadableOptionError: if its attempts or its age limit are no numbers.
        """
        for name, fits in (("retries", _is_attempts), ("max_age", _is_milliseconds)):
            if name in message.options and not fits(message.options[name]):
                raise UnreadableOptionError(f"options.{name}")

    def restrain(self, message: dramatiq.Message[Any] | dramatiq.MessageProxy) -> None:
        """Take out of a message's options what is not to be obeyed."""
        options = message.options
        if not options:
            return
        if isinstance(options.get("traceback"), str):
            options["traceback"] = options["traceback"][-TRACEBACK_LIMIT:]
        dropped = [name for name, value in options.items() if not self._passes(name, value, message.actor_name)]
        for name in dropped:
            del options[name]
            if name not in _DROPPED_SILENTLY:
                self._tell(name, message)

    def _passes(self, name: str, value: Any, task: str) -> bool:
        in_use = self._broker.actor_options
        passes = False
        if name in _NEVER or name in _DROPPED_SILENTLY:
            pass
        elif name in self._extra or name in _OF_THE_LANE:
            passes = _OF_THE_LANE.get(name, _is_anything)(value)
        elif name in _OF_PIPELINES:
            passes = "pipe_target" in in_use and _OF_PIPELINES[name](value)
        elif name in _OF_GROUPS:
            has_groups = any(isinstance(each, GroupCallbacks) for each in self._broker.middleware)
            passes = has_groups and _OF_GROUPS[name](value)
        elif name not in in_use:
            pass
        elif name in _DECLARED:
            passes = _is_whole(value) and self._is_within(name, value, task)
        elif name in _CALLBACKS:
            passes = isinstance(value, str) and value in self._broker.actors
        else:
            passes = _OF_OTHERS.get(name, _is_anything)(value)
        return passes

    def _is_within(self, name: str, value: int, task: str) -> bool:
        """Whether it asks for no more than the task's declaration, or the middleware for a task without one."""
        actor = self._broker.actors.get(task)
        if actor is None:
            return False
        declared = actor.options.get(name, _default(self._broker, name))
        if declared is None:
            return 0 <= value <= _LONGEST_MS
        if name in ("min_backoff", "max_backoff"):
            return int(declared) <= value <= _LONGEST_MS
        return (0 if name == "max_retries" else 1) <= value <= float(declared)

    def _tell(self, name: str, message: dramatiq.Message[Any] | dramatiq.MessageProxy) -> None:
        if name in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(name)
        shown = name if name.isidentifier() and len(name) <= _LONGEST_NAME else "…"
        emit(
            logger,
            OPTION_DROPPED,
            level=logging.WARNING,
            queue=message.queue_name,
            task=message.actor_name,
            call_id=message.message_id,
            option=shown,
        )


def _default(broker: dramatiq.Broker, name: str) -> Any:
    kind = TimeLimit if name == "time_limit" else Retries
    return next((getattr(each, name, None) for each in broker.middleware if isinstance(each, kind)), None)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_attempts(value: Any) -> bool:
    return _is_whole(value) and 0 <= value <= _MOST_ATTEMPTS


def _is_milliseconds(value: Any) -> bool:
    return value is None or (_is_whole(value) and value >= 0) or (isinstance(value, float) and 0 <= value < math.inf)


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_duration(value: Any) -> bool:
    return value is None or (_is_whole(value) and 0 <= value <= _LONGEST_MS)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_anything(_value: Any) -> bool:
    return True


#: What the lane itself writes into its messages, and its retries.
_OF_THE_LANE: Final[dict[str, _Rule]] = {
    "retries": _is_attempts,
    "max_age": _is_milliseconds,
    "traceback": _is_text,
    "requeue_timestamp": _is_whole,
    POLICY_REVISION: is_revision,
}
_DECLARED: Final = frozenset({"max_retries", "min_backoff", "max_backoff", "time_limit"})
_CALLBACKS: Final = frozenset({"on_success", "on_failure", "on_retry_exhausted"})
_OF_PIPELINES: Final[dict[str, _Rule]] = {
    "pipe_target": lambda value: isinstance(value, dict),
    "pipe_ignore": _is_flag,
    "delay": _is_duration,
}
_OF_GROUPS: Final[dict[str, _Rule]] = {
    "group_completion_uuid": _is_text,
    "group_completion_callbacks": lambda value: isinstance(value, list),
}
_OF_OTHERS: Final[dict[str, _Rule]] = {
    "notify_shutdown": _is_flag,
    "store_results": _is_flag,
    "result_ttl": _is_duration,
}
