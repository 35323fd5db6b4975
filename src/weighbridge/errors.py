"""Every error that weighbridge raises: one tree, each built from facts and saying what to do."""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from typing import Any

from weighbridge.excerpt import marked


class WeighbridgeError(Exception):
    """The root: ``except WeighbridgeError`` catches all that this package raises by itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors take keyword-only facts, so the default (call the class with .args) cannot rebuild them.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # typeshed omits it


class _TaskError(WeighbridgeError):
    def __init__(self, *, task: str, problem: str, remedy: str) -> None:
        self.task, self.problem, self.remedy = task, problem, remedy
        super().__init__(f"task {task!r} {problem}; {remedy}")


class _RemediableError(WeighbridgeError, RuntimeError):
    def __init__(self, *, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}; {remedy}")


# -- what is declared and configured ------------------------------------------------------------------------


class DeclarationError(_TaskError, ValueError):
    """A task is declared in a way that cannot work; it is refused where it is declared."""


class DuplicateTaskError(DeclarationError):
    """Two functions claim one task name; messages in the queue carry the name, so it has to be unique."""

    def __init__(self, *, task: str, holder: str, claimant: str) -> None:
        self.holder = holder
        self.claimant = claimant
        super().__init__(
            task=task,
            problem=f"is declared twice: by {holder} and by {claimant}",
            remedy="give one of them another name with @task(name=…)",
        )


class SettingsError(WeighbridgeError, ValueError):
    """A setting is unknown, or has a value that it cannot have."""

    def __init__(self, *, setting: str, problem: str, remedy: str) -> None:
        self.setting = setting
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"setting {setting} {problem}; {remedy}")


class ExpressionError(WeighbridgeError, ValueError):
    """A ``when`` expression is not a true-or-false statement about facts.

    ``offset`` and ``length`` mark the place in ``expression``, in characters from 0.
    """

    def __init__(self, *, expression: str, problem: str, offset: int, length: int = 1, remedy: str = "") -> None:
        self.expression = expression
        self.problem = problem
        self.offset = offset
        self.length = length
        self.remedy = remedy
        super().__init__(f"{problem}\n{self.excerpt}" + (f"\n{remedy}" if remedy else ""))

    @property
    def excerpt(self) -> str:
        """The line of the expression with carets under the place."""
        return marked(self.expression, offset=self.offset, length=self.length)


class PolicyError(WeighbridgeError, ValueError):
    """A policy cannot be used; ``source`` names the file or the object, ``where`` the rule and key in it."""

    def __init__(self, *, source: str, problem: str, remedy: str, where: str = "", excerpt: str = "") -> None:
        self.source = source
        self.problem = problem
        self.remedy = remedy
        self.where = where
        self.excerpt = excerpt
        place = f"{source}, {where}" if where else source
        super().__init__(f"policy {place}: {problem}" + (f"\n{excerpt}\n" if excerpt else "; ") + remedy)


class PolicyNotFoundError(PolicyError, LookupError):
    """No policy stands behind the name, the path or the ``module:object`` that was given."""


# -- one call -----------------------------------------------------------------------------------------------


class CallError(_TaskError):
    """One ``add_task`` is refused, in the request that made it; nothing of it is kept."""


class WeightError(CallError, ValueError):
    """A weight function raised, or returned what is not a number of milliseconds ≥ 0."""


class OptionError(CallError, ValueError):
    """A per-call option (``options(…)``) has a value that it cannot have."""


class ConstraintError(CallError, ValueError):
    """The call asks for a lane that the task's declaration forbids, or that its function cannot take."""


class ArgumentError(CallError, TypeError):
    """An argument does not survive the way to another process; ``argument`` names it, ``path`` is the place in it.

    ``sent`` and ``arrives`` are the names of two types, where one would arrive as the other.
    """

    _SAID = "cannot be queued: argument {}"

    def __init__(
        self,
        *,
        task: str,
        argument: str,
        problem: str,
        remedy: str,
        path: str = "",
        sent: str | None = None,
        arrives: str | None = None,
    ) -> None:
        self.argument = argument
        self.path = path
        self.sent = sent
        self.arrives = arrives
        named, where = (self.place, "") if self.drift is None else (argument, f", {self.drift}")
        super().__init__(task=task, problem=f"{self._SAID.format(repr(named))} {problem}{where}", remedy=remedy)

    @property
    def place(self) -> str:
        """The argument and the path in it: ``rows[3].when``."""
        return self.argument + self.path

    @property
    def drift(self) -> str | None:
        """The place and both types, ``rows[3].when: datetime → str``; ``None`` if it is not the type that differs."""
        return None if self.sent is None else f"{self.place}: {self.sent} → {self.arrives}"


class ArgumentSizeError(ArgumentError):
    """The arguments of a call are larger, or nested deeper, than the queue lane takes: an answer 413 says so.

    Where it depends on what a client sends, answer it with an exception handler.
    """


class PayloadError(ArgumentError):
    """A message's arguments do not fit its task; it is a dead letter at once, since every retry would end so too."""

    _SAID = "cannot run: argument {} of its message"


class CommittedError(WeighbridgeError, RuntimeError):
    """The facade has already committed (or run, or was discarded), so it takes no further call and runs no more."""

    def __init__(self, *, action: str, remedy: str, when: str = "after the commit") -> None:
        self.action = action
        self.when = when
        self.remedy = remedy
        super().__init__(f"{action} {when}; {remedy}")


# -- dispatcher and broker ----------------------------------------------------------------------------------


class DispatcherError(_RemediableError):
    """The dispatcher is not in a state in which this can be done."""


class NotOpenError(DispatcherError):
    """A call must be queued, and no dispatcher is open to queue it."""


class SeveralDispatchersError(DispatcherError):
    """More than one dispatcher is open on this loop, and nothing says which one is meant."""


class BrokerNotConfiguredError(DispatcherError):
    """A task could be queued, and there is no broker to queue it on."""


class NoCurrentCallError(WeighbridgeError, LookupError):
    """``current_call()`` was asked for where no task runs."""

    def __init__(self) -> None:
        super().__init__(
            "no task runs here, so there is no current call; ask inside a task that add_task has started, "
            "and in a test that calls the function itself use weighbridge.testing.running_as(…)"
        )


class UnavailableError(WeighbridgeError, RuntimeError):
    """A request's calls could not be accepted now; in a request this answers 503 with ``Retry-After``.

    ``unknown`` is true if the queued calls may be in the queue all the same (a reply was lost), false if
    they certainly are not. ``retry_after_s`` is in seconds; ``None``: a retry would fare no better.
    """

    def __init__(self, *, problem: str, tasks: Sequence[str], unknown: bool, retry_after_s: float | None) -> None:
        self.problem = problem
        self.tasks = tuple(tasks)
        self.unknown = unknown
        self.retry_after_s = retry_after_s
        fate = (
            "it is unknown whether they are in the queue, so a retry may run them twice"
            if unknown
            else "they are certainly not in the queue, "
            + ("so a retry is safe" if retry_after_s is not None else "and a retry would fare no better")
        )
        super().__init__(f"{len(self.tasks)} call(s) not accepted ({', '.join(self.tasks)}): {problem}; {fate}")


class EnqueueError(UnavailableError):
    """The broker did not accept a request's queued calls."""


class LaneFullError(UnavailableError):
    """A lane holds as many waiting calls as its bound allows."""


class DrainingError(UnavailableError):
    """The service shuts down, and its lane in process takes no more calls: another instance may."""


class TimeLimitError(WeighbridgeError, TimeoutError):
    """An async task ran longer in process than its ``time_limit_s``, and was cancelled where it waited.

    ``limit_s`` is in seconds; the cause is the cancellation, whose traceback says where.
    """

    def __init__(self, *, task: str, limit_s: float) -> None:
        self.task = task
        self.limit_s = limit_s
        super().__init__(f"task {task!r} ran longer than its time_limit_s={limit_s}; raise it, or let it do less")


class BrokerError(WeighbridgeError, RuntimeError):
    """The broker cannot be used as configured: an address, a password or a permission is wrong."""

    def __init__(self, *, broker: str, problem: str, remedy: str) -> None:
        self.broker = broker
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"broker {broker}: {problem}; {remedy}")


class EmbeddedServerError(_RemediableError):
    """No server for demo, dev or tests could be found or started."""


class ModuleError(WeighbridgeError, ImportError):
    """A module that should declare tasks, or hold an object, cannot be imported or lacks it."""

    def __init__(self, *, module: str, problem: str, remedy: str) -> None:
        self.module = module
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"module {module!r} {problem}; {remedy}")


class WorkerError(WeighbridgeError, RuntimeError):
    """Worker processes cannot work as configured, and starting them again would not help."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class QueueNameError(WeighbridgeError, ValueError):
    """A message names a queue that cannot exist."""

    def __init__(self, *, queue: str) -> None:
        self.queue = queue
        super().__init__(
            f"queue {queue!r} cannot exist; start its name with a letter or _, go on with letters, digits, . _ or -"
        )


class DeadLetterNotFoundError(WeighbridgeError, LookupError):
    """No dead letter has this id (any more): it was requeued, deleted, or kept for as long as letters are kept."""

    def __init__(self, *, letter: str) -> None:
        self.letter = letter
        super().__init__(f"there is no dead letter {letter!r}; list the dead letters for the ids that there are")
