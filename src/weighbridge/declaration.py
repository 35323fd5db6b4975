"""``@task``: checks what is declared about a function, and registers it."""

from __future__ import annotations

import difflib
import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any, Final, Literal, TypeVar, overload

from weighbridge.arguments import ArgumentCodec
from weighbridge.crossing import call_is_async, shape_obstacle
from weighbridge.errors import DeclarationError
from weighbridge.task import (
    HEAVY_QUEUE_FROM,
    LONGEST_S,
    WEIGHT_TAKES,
    OnUnavailable,
    TaskSpec,
    Weight,
    is_weight,
    registry,
)

F = TypeVar("F", bound=Callable[..., Any])

#: Dramatiq's alphabet for queue names, less the endings that it gives a meaning (``.DQ``, ``.XQ``).
QUEUE_NAME: Final = re.compile(r"(?!.*\.(?:DQ|XQ)$)[a-zA-Z_][a-zA-Z0-9._-]{0,99}")
#: Python's dotted names, with ``<locals>`` of nested functions, and what people use as separators.
TASK_NAME: Final = re.compile(r"[\w.<>:/-]{1,200}")
#: Dramatiq waits no longer between two retries, whatever it is told.
LONGEST_BACKOFF_S: Final = 7 * 24 * 60 * 60
_LONGEST_SHOWN: Final = 200


class UnknownOptionError(DeclarationError, TypeError):
    """``@task`` was given a keyword that it does not have."""


class DeclarationWarning(UserWarning):
    """A declaration that works, but not as its author probably means."""


@overload
def task(
    func: F,
    /,
    *,
    weight: float | Weight | Callable[..., float] = 0,
    shares_memory: bool = False,
    durable: bool = False,
    name: str | None = None,
    queue: str | None = None,
    retries: int | None = None,
    min_backoff_s: float = 1,
    max_backoff_s: float = 60,
    time_limit_s: float | None = None,
    priority: int = 0,
    tags: Iterable[str] = (),
    on_unavailable: Literal["reject", "run_here"] | OnUnavailable = "reject",
) -> F: ...
@overload
def task(
    *,
    weight: float | Weight | Callable[..., float] = 0,
    shares_memory: bool = False,
    durable: bool = False,
    name: str | None = None,
    queue: str | None = None,
    retries: int | None = None,
    min_backoff_s: float = 1,
    max_backoff_s: float = 60,
    time_limit_s: float | None = None,
    priority: int = 0,
    tags: Iterable[str] = (),
    on_unavailable: Literal["reject", "run_here"] | OnUnavailable = "reject",
) -> Callable[[F], F]: ...
def task(func: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
    """Declare a function as a task. The function itself is returned unchanged: callable, picklable, typed.

    ``task(function, …)`` is ``@task(…)`` for a function that is written elsewhere.

    :param weight: Expected cost of one run in milliseconds of CPU time: a number ≥ 0 (at most 1e12), a
        :class:`Weight`, or a function of the call's arguments. Undeclared: 0.
    :param shares_memory: It needs this process's memory, so it is never queued.
    :param durable: It must survive a crash, so it is always queued.
    :param name: The name in messages and policies. Default: ``module.qualname``.
    :param queue: The queue. Default: ``heavy`` from a declared weight of 50, else ``default``.
    :param retries: How often a failing call runs again. Undeclared: 3 in the queue, none in process.
    :param min_backoff_s: Seconds before the first retry; doubles with each.
    :param max_backoff_s: The longest wait between retries, in seconds: at most 7 days.
    :param time_limit_s: Seconds after which a run is interrupted: any run in a worker (10 minutes if
        undeclared), in process async ones only, since a thread cannot be. At most 366 days.
    :param priority: Lower runs first among the messages that a worker has fetched.
    :param tags: Words that policies can match.
    :param on_unavailable: Of a call that the broker certainly did not take: ``reject`` answers 503,
        ``run_here`` runs it in process.
    :raises DeclarationError: for a value that an option cannot have, a contradiction (``durable`` with
        ``shares_memory`` or ``run_here``), a durable function that cannot cross a process.
    :raises UnknownOptionError: for a keyword that is none of the above.
    :raises DuplicateTaskError: if another function holds the name, such as a copy, or the same one in another wrapper.

    Warns :class:`DeclarationWarning` if a heavy function can only stay in process.
    """
    tags = options.get("tags")
    if isinstance(tags, Iterator):  # looking at it uses it up, and a second function may be declared with it
        options["tags"] = tuple(tags)
    if func is not None:
        return _declare(func, options)

    def decorate(function: F) -> F:
        return _declare(function, options)

    return decorate


def _declare(func: F, options: dict[str, Any]) -> F:
    if not isinstance(func, FunctionType):
        shown = getattr(func, "__qualname__", None) or repr(func)
        raise DeclarationError(
            task=shown,
            problem=f"is a {type(func).__name__} object, and @task takes a function",
            remedy="declare a def or async def that calls it",
        )
    name = options.get("name")
    name = f"{func.__module__}.{func.__qualname__}" if name is None else name
    if isinstance(name, str) and options.get("name") is None and TASK_NAME.fullmatch(name) is None:
        raise DeclarationError(
            task=_short(name),
            problem="has a name that messages and logs cannot carry, made of its module's and its own",
            remedy="name it: @task(name=…), of 1 to 200 letters, digits, or any of _ . : / < > -",
        )
    spec = _checked(func, name, options)
    registry.add(spec)
    return func


def _checked(func: FunctionType, name: str, options: dict[str, Any]) -> TaskSpec:
    allowed = {parameter for parameter in _OPTIONS if parameter != "func"}
    for option in options.keys() - allowed:
        close = difflib.get_close_matches(option, allowed, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the options are {', '.join(sorted(allowed))}"
        raise UnknownOptionError(task=_short(str(name)), problem=f"has the unknown option {option!r}", remedy=hint)
    for option, value in options.items():
        fits, remedy = _OPTIONS[option]
        if not fits(value):
            raise DeclarationError(task=_short(str(name)), problem=f"has {option}={_short(repr(value))}", remedy=remedy)
    if inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
        raise DeclarationError(
            task=name, problem="is a generator function, whose body nobody would run", remedy="use a plain def"
        )
    values = {key: value for key, value in options.items() if key not in ("name", "queue", "tags", "weight")}
    weight = options.get("weight", 0)
    weight = weight if callable(weight) else float(weight)
    heavy = not callable(weight) and weight >= HEAVY_QUEUE_FROM
    queue = options.get("queue") or ("heavy" if heavy else "default")
    if "on_unavailable" in values:
        values["on_unavailable"] = OnUnavailable(values["on_unavailable"])
    spec = TaskSpec(
        name=name,
        func=func,
        is_async=call_is_async(func),
        weight=weight,
        queue=queue,
        tags=tuple(options.get("tags", ())),
        codec=ArgumentCodec(func, task=name),
        **values,
    )
    _refuse_contradictions(spec)
    if spec.durable or (heavy and not spec.shares_memory):
        _check_crossing(spec)
    return spec


def _refuse_contradictions(spec: TaskSpec) -> None:
    if spec.durable and spec.shares_memory:
        raise DeclarationError(
            task=spec.name,
            problem="is durable and shares_memory: what needs this process's memory cannot survive its crash",
            remedy="drop one of the two",
        )
    if spec.durable and spec.on_unavailable is OnUnavailable.RUN_HERE:
        raise DeclarationError(
            task=spec.name,
            problem="is durable with on_unavailable='run_here': a call that runs here does not survive a crash",
            remedy="use on_unavailable='reject'",
        )
    if spec.min_backoff_s > spec.max_backoff_s:
        raise DeclarationError(
            task=spec.name,
            problem=f"has min_backoff_s={spec.min_backoff_s} above max_backoff_s={spec.max_backoff_s}",
            remedy="let the first wait be the shorter one",
        )


def _check_crossing(spec: TaskSpec) -> None:
    """A durable task that cannot cross is an error, a heavy one a warning: both known where it is declared.

    Annotations that name what is not defined yet are looked at again when a dispatcher opens.
    """
    obstacle = shape_obstacle(spec.func) or spec.codec.obstacle()
    if obstacle is None:
        return
    if spec.durable:
        raise DeclarationError(
            task=spec.name,
            problem=f"is durable, so it must be queued, and it {obstacle}",
            remedy="or drop durable=True",
        )
    warnings.warn(
        f"task {spec.name!r} is heavy and can only run in this process: it {obstacle} "
        "(say shares_memory=True if that is meant)",
        DeclarationWarning,
        stacklevel=5,
    )


def _short(text: str) -> str:
    """What is shown of a name or a value, which may be of any length."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_seconds(value: object, longest_s: int) -> bool:
    # Compared, for math.isfinite raises on an int that is too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= longest_s


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_FLAG = (_is_flag, "give True or False")
_BACKOFF = (
    lambda value: _is_seconds(value, LONGEST_BACKOFF_S),
    f"give a finite number of seconds > 0, at most {LONGEST_BACKOFF_S:,} (7 days)",
)
_OPTIONS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "weight": (
        lambda value: is_weight(value) or (callable(value) and not inspect.iscoroutinefunction(value)),
        f"give {WEIGHT_TAKES}; a Weight; or a function of the task's arguments",
    ),
    "shares_memory": _FLAG,
    "durable": _FLAG,
    "name": (
        lambda value: value is None or (isinstance(value, str) and TASK_NAME.fullmatch(value) is not None),
        "give 1 to 200 letters, digits, or any of _ . : / < > -",
    ),
    "queue": (
        lambda value: value is None or (isinstance(value, str) and QUEUE_NAME.fullmatch(value) is not None),
        "start with a letter or _, go on with letters, digits, . _ or -, and do not end in .DQ or .XQ",
    ),
    "retries": (lambda value: value is None or (_is_whole(value) and value >= 0), "give a whole number ≥ 0"),
    "min_backoff_s": _BACKOFF,
    "max_backoff_s": _BACKOFF,
    "time_limit_s": (
        lambda value: value is None or _is_seconds(value, LONGEST_S),
        f"give a finite number of seconds > 0, at most {LONGEST_S:,} (366 days)",
    ),
    "priority": (_is_whole, "give a whole number; lower runs first"),
    "tags": (
        lambda value: (
            isinstance(value, Iterable)
            and not isinstance(value, str | bytes)
            and all(isinstance(tag, str) for tag in value)
        ),
        "give several strings, as in tags=('billing', 'eu')",
    ),
    "on_unavailable": (
        lambda value: value in tuple(OnUnavailable),
        "give 'reject' or 'run_here'",
    ),
}
