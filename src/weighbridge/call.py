"""One ``add_task``: the call, its per-call options, and the ticket that the caller gets."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final

from weighbridge.decision import Decision, Lane
from weighbridge.errors import OptionError
from weighbridge.task import LONGEST_S, WEIGHT_TAKES, TaskSpec, is_weight

#: Encoded arguments: positional ones, and those by keyword.
Payload = tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """Per-call overrides. ``weight`` in CPU milliseconds; ``delay_s`` and ``expires_s`` in seconds from now.

    :meth:`checked` takes at most 366 days for either, and an expiry only after the delay.
    """

    weight: float | None = None
    lane: Lane | None = None
    delay_s: float | None = None
    expires_s: float | None = None

    @classmethod
    def checked(
        cls, *, weight: object = None, lane: object = None, delay_s: object = None, expires_s: object = None
    ) -> CallOptions:
        """The options, if each has a value that it can have.

        :raises OptionError: naming the option, its value and what it takes.
        """
        if weight is not None and not is_weight(weight):
            raise _bad_option("weight", weight, f"give {WEIGHT_TAKES}")
        if lane is not None and lane not in tuple(Lane):
            raise _bad_option("lane", lane, f"give one of {', '.join(repr(str(each)) for each in Lane)}")
        for option, value in (("delay_s", delay_s), ("expires_s", expires_s)):
            if value is not None and not _is_seconds(value):
                raise _bad_option(option, value, "give a finite number of seconds > 0")
            if value is not None and value > LONGEST_S:  # type: ignore[operator]  # _is_seconds has checked it
                raise _bad_option(option, value, f"give at most {LONGEST_S:,} seconds (366 days)")
        if delay_s is not None and lane == Lane.IN_PROCESS:
            raise OptionError(
                task="(options)",
                problem=f"was given delay_s={delay_s!r} with lane='in_process', and only the queue waits",
                remedy="drop one of the two",
            )
        if delay_s is not None and expires_s is not None and expires_s <= delay_s:  # type: ignore[operator]  # as above
            raise OptionError(
                task="(options)",
                problem=f"was given expires_s={expires_s!r} with delay_s={delay_s!r}, and both count from now: "
                "it would expire before it may start",
                remedy="give an expires_s greater than delay_s",
            )
        return cls(
            weight=None if weight is None else float(weight),  # type: ignore[arg-type]  # is_weight has checked it
            lane=None if lane is None else Lane(str(lane)),
            delay_s=delay_s,  # type: ignore[arg-type]  # checked above
            expires_s=expires_s,  # type: ignore[arg-type]  # checked above
        )


NO_OPTIONS: Final = CallOptions()


def _is_seconds(value: object) -> bool:
    # Compared, for math.isfinite raises on an int that is too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _bad_option(option: str, value: object, remedy: str) -> OptionError:
    return OptionError(task="(options)", problem=f"was given {option}={value!r}", remedy=remedy)


#: The first bits of a UUID's fourth group are fixed (RFC 9562, section 4.1).
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def new_call_id() -> str:
    """A random UUID (version 4) as text: what ``str(uuid.uuid4())`` gives, for a third of the time.

    Random bytes of the system, so that processes that were forked from one another never agree.
    """
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


#: The reason on the ticket of a call that was to be queued and runs in process.
REFUSED_REASON: Final = "the queue did not take it, and on_unavailable='run_here'"
#: What decides then, in the place of a rule.
REFUSED_RULE: Final = "on_unavailable"


@dataclass(slots=True)
class Ticket:
    """What ``add_task`` answers: the call's id, its lane, the reason for it, its weight in CPU milliseconds.

    ``revision`` is that of the policy that decided, and empty if a constraint or an option did.

    It is changed once at most, by the commit: ``lane`` and ``reason`` of a call with ``on_unavailable="run_here"`` that
    the broker did not take say from then on that it runs in process.
    """

    # Made for each call, by position: by keyword that takes two to three times as long.

    id: str
    lane: Lane
    reason: str
    weight: float
    revision: str = ""

    def stays_here(self) -> None:
        """For the commit: the queue did not take the call, and it runs in process."""
        self.lane, self.reason, self.revision = Lane.IN_PROCESS, REFUSED_REASON, ""


@dataclass(slots=True, eq=False)
class Call:
    """One ``add_task``, weighed and decided, on its way to its lane.

    ``added_at_s`` is on the clock of its chooser; ``payload`` holds the encoded arguments of a call that is queued;
    ``attempts`` says how often it has run before it was handed over to the queue.

    What may hold argument values stays out of ``repr``.

    The type checker keeps it from being changed, not the running program: each ``add_task`` makes one, and a frozen
    dataclass of this size takes four times as long to make. So does one that takes its fields by keyword only.
    """

    id: Final[str]
    name: Final[str]
    func: Final[Callable[..., Any]]
    args: Final[tuple[Any, ...]] = field(repr=False)
    kwargs: Final[Mapping[str, Any]] = field(repr=False)
    spec: Final[TaskSpec | None]
    is_async: Final[bool]
    decision: Final[Decision]
    context: Final[Context] = field(repr=False)
    added_at_s: Final[float]
    weight: Final[float] = 0.0
    options: Final[CallOptions] = NO_OPTIONS
    payload: Final[Payload | None] = field(default=None, repr=False)
    attempts: Final[int] = 0


async def on_loop(
    call: Call,  # noqa: ARG001  # read in the frame, by who looks at the loop's thread
    run: Callable[..., Awaitable[object]],
    /,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Await ``run(…)``, which runs ``call``. The frame of this says which call it is that runs on the event loop."""
    await run(*args, **kwargs)
