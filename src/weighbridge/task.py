"""A task: the frozen declaration of a function, its weight, and the registry of tasks by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from typing import Any, Final
from weakref import WeakKeyDictionary

from weighbridge.arguments import ArgumentCodec
from weighbridge.definition import is_beside, is_made_again, is_of_program, place_of, wraps_the_same
from weighbridge.errors import DuplicateTaskError, WeightError

#: Weight from which a task's default queue is ``heavy`` instead of ``default``.
HEAVY_QUEUE_FROM: Final = 50
#: Retries of a queued call whose task declares none; in process only declared retries count.
DEFAULT_QUEUE_RETRIES: Final = 3
#: The greatest weight: thirty years of computing, and far within what a float holds.
HEAVIEST: Final = 1e12
#: What a weight may be, for the errors about one that is not.
WEIGHT_TAKES: Final = "a finite number ≥ 0, at most 1e12, in milliseconds of CPU time"
#: The longest delay, expiry or time limit, in seconds: a leap year. Brokers keep times as integers of milliseconds,
#: and what overflows those would fail in the middle of a write; a call that waits longer belongs into a database.
LONGEST_S: Final = 366 * 24 * 60 * 60


class Weight(IntEnum):
    """Round numbers for an expected cost, in milliseconds of CPU time of one run."""

    LIGHT = 1
    MEDIUM = 20
    HEAVY = 200


class OnUnavailable(StrEnum):
    """What becomes of a call that the broker certainly did not take."""

    REJECT = "reject"
    RUN_HERE = "run_here"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskSpec:
    """What ``@task`` declared about one function. Units: weight in CPU milliseconds, the rest in seconds.

    ``retries`` is ``None`` if none were declared: then 3 apply in the queue and none in process.
    """

    name: str
    func: Callable[..., Any]
    is_async: bool
    weight: float | Callable[..., float] = 0.0
    shares_memory: bool = False
    durable: bool = False
    queue: str = "default"
    retries: int | None = None
    min_backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    time_limit_s: float | None = None
    priority: int = 0
    tags: tuple[str, ...] = ()
    on_unavailable: OnUnavailable = OnUnavailable.REJECT
    codec: ArgumentCodec = field(repr=False)

    @property
    def queue_retries(self) -> int:
        """How often a failing call is retried in the queue."""
        return DEFAULT_QUEUE_RETRIES if self.retries is None else self.retries

    def weigh(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
        """The weight of one call, in CPU milliseconds.

        :raises WeightError: if the weight function raises, or returns what is not a finite number ≥ 0.
        """
        if not callable(self.weight):
            return self.weight
        try:
            weight = self.weight(*args, **kwargs)
        except Exception as error:
            raise WeightError(
                task=self.name,
                # Its text may quote an argument, and errors get into answers and logs; the cause has it.
                problem=f"cannot be weighed: its weight function raised {type(error).__name__}",
                remedy="let it take the same arguments as the task and return a number of milliseconds",
            ) from error
        if not is_weight(weight):
            raise WeightError(
                task=self.name,
                problem=f"cannot be weighed: its weight function returned {_shown(weight)}",
                remedy=f"return {WEIGHT_TAKES}",
            )
        return float(weight)


def _shown(weight: object) -> str:
    """A number as it is. Of anything else the type: a weight function may hand an argument back."""
    return repr(weight) if isinstance(weight, int | float) else f"a {type(weight).__name__}"


def is_weight(value: object) -> bool:
    """Whether ``value`` is a number that a weight can be (``True`` and ``False`` are not meant as numbers)."""
    # Compared, for math.isfinite raises on an int that is too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= HEAVIEST


class Registry:
    """Tasks by name, in the order of their declaration.

    A name belongs to one function. Refused is another function that claims it: one of another module or of another
    qualified name, a second ``def`` of that name in the module's body that runs at this moment, or the holder's very
    function in another wrapper. All else replaces the earlier declaration: its factory ran again, its module was
    imported again or reloaded, its source was changed and executed once more. Each of these compiles its source again
    or runs the same ``def`` again, and a copy in one file does neither.

    A file that is executed as the program and imported too (``python app.py``, which has ``app:app`` served) declares
    all of its tasks twice. The module has the names then, whichever comes first, for it is what a worker imports.

    What was declared is known for as long as its function lives, and keeps nothing alive once it was replaced or
    discarded.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, TaskSpec] = {}
        #: What each function was declared as. No TaskSpec, which holds its function and would keep it for ever.
        self._options: WeakKeyDictionary[Callable[..., Any], dict[str, Any]] = WeakKeyDictionary()
        #: For what others learn of functions from this registry: an empty one takes its place after each change.
        self.learned: WeakKeyDictionary[Callable[..., Any], Any] = WeakKeyDictionary()

    def __iter__(self) -> Iterator[TaskSpec]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def add(self, spec: TaskSpec) -> None:
        """Keep ``spec`` under its name.

        :raises DuplicateTaskError: if another function holds the name.
        """
        holder = self._by_name.get(spec.name)
        if holder is None or not is_of_program(spec.func, holder.func):
            if holder is not None:
                _refuse_another(holder, spec)
            self._by_name[spec.name] = spec
        self._options[spec.func] = {name: getattr(spec, name) for name in _OPTIONS}
        self.learned = WeakKeyDictionary()  # last: what is learned until here goes where nobody looks any more

    def discard(self, name: str) -> None:
        """Forget the task of this name, if there is one; for test suites that declare tasks in tests.

        Its function then counts as never declared.
        """
        self._by_name.pop(name, None)
        self.learned = WeakKeyDictionary()

    def get(self, name: str) -> TaskSpec | None:
        """The task of this name."""
        return self._by_name.get(name)

    def of(self, func: Callable[..., Any]) -> TaskSpec | None:
        """The declaration of exactly this function object (not of a wrapper around it).

        If the same function was declared anew (:func:`is_made_again`), that is the newer declaration. If another
        function has its name by now, it is its own declaration, which :meth:`get` no longer gives.
        """
        try:
            options = self._options.get(func)
        except TypeError:  # not hashable, or not weakly referable: certainly no function
            return None
        holder = None if options is None else self._by_name.get(options["name"])
        if options is None or holder is None or holder.func is func or is_made_again(holder.func, func):
            return holder
        return TaskSpec(func=func, codec=ArgumentCodec(func, task=options["name"]), **options)


_OPTIONS: Final = tuple(each.name for each in fields(TaskSpec) if each.name not in ("func", "codec"))


def _address(func: Callable[..., Any]) -> str:
    return f"{func.__module__}.{func.__qualname__}"


def _refuse_another(holder: TaskSpec, claimant: TaskSpec) -> None:
    place = place_of(claimant.func)
    if _address(holder.func) != _address(claimant.func):
        if is_of_program(holder.func, claimant.func):
            return
    elif wraps_the_same(holder.func, claimant.func):
        place = "the same function in another wrapper"
    elif not is_beside(holder.func, claimant.func):
        return
    raise DuplicateTaskError(task=claimant.name, holder=place_of(holder.func), claimant=place)


#: The tasks of this process. Declaring needs no broker, so this is all that ``@task`` touches.
registry: Final = Registry()
