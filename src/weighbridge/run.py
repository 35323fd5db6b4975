"""A run, as its own task sees it: which call it is, and the how-manieth attempt."""

from __future__ import annotations

from contextvars import Context, ContextVar, Token
from dataclasses import dataclass
from typing import Final

from weighbridge.decision import Lane
from weighbridge.errors import NoCurrentCallError


@dataclass(slots=True, unsafe_hash=True)
class CurrentCall:
    """The call whose run this is.

    ``id`` is the ticket's, in every attempt, and after a dead letter was requeued too. ``attempt`` is 1 for the first
    run and one more for each earlier run that failed. A run that ended with its worker is not counted, and a requeued
    dead letter begins with 1 again: so ``attempt`` says how far the retries are, and only ``id`` says that the task
    may have run before. ``revision`` is that of the policy that chose the lane; empty if a constraint or an option did.
    """

    # The type checker keeps them from being changed: each run makes one, and a frozen one takes three times as long.

    id: Final[str]
    task: Final[str]
    attempt: Final[int]
    lane: Final[Lane]
    revision: Final[str] = ""


_current: Final[ContextVar[CurrentCall]] = ContextVar("weighbridge_current_call")

#: Let :func:`current_call` give this call from now on, in a context that is the run's own and ends with it.
run_in_this_context: Final = _current.set


def current_call() -> CurrentCall:
    """The call whose run this is; in a task, or in what a task calls, in both lanes, sync and async.

    Found by a context variable: a thread that a task starts by itself does not see it, unless it is run in a copy
    of the task's context. A call that the task adds gets one of its own.

    :raises NoCurrentCallError: where no task runs: in a request, or in a task's function that was called directly.
        A test gives one with :func:`weighbridge.testing.running_as`.
    """
    try:
        return _current.get()
    except LookupError:
        raise NoCurrentCallError from None


def running_call() -> CurrentCall | None:
    """As :func:`current_call`; ``None`` where no task runs."""
    return _current.get(None)


def current_call_in(context: Context) -> CurrentCall | None:
    """The call whose run ``context`` belongs to, if any; also for another thread than the one that runs there."""
    return context.get(_current)


def runs_in_queue_lane() -> bool:
    """Whether this is the run of a queued call."""
    call = _current.get(None)
    return call is not None and call.lane is Lane.QUEUE


class running:  # noqa: N801  # read as a word of the ``with`` statement, as contextlib's own
    """Let :func:`current_call` give ``call`` in this block; ``None`` changes nothing."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: CurrentCall | None) -> None:
        self._call = call
        self._token: Token[CurrentCall] | None = None

    def __enter__(self) -> None:
        if self._call is not None:
            self._token = _current.set(self._call)

    def __exit__(self, *raised: object) -> None:
        if self._token is not None:
            _current.reset(self._token)
