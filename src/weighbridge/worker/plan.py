"""How the queues are divided among worker processes, so that light calls do not wait behind heavy ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self, assert_never

from weighbridge.task import HEAVY_QUEUE_FROM
from weighbridge.worker.control import ChildOptions, Share

DEFAULT_THREADS: Final = 8
#: Heavy calls of one process take turns on one interpreter: more threads would make each of them slower, and hold calls
#: that another process could run. With two, one computes while the other waits for a file or a database.
HEAVY_THREADS: Final = 2
#: The queue that is heavy whatever is in it.
HEAVY_QUEUE: Final = "heavy"
#: One process of so many works on the other queues.
OTHERS_ONE_OF: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The queues of the known tasks, by kind; sorted."""

    heavy: tuple[str, ...]
    other: tuple[str, ...]

    @classmethod
    def of(cls, weights: Mapping[str, Iterable[float]]) -> Self:
        """From the weights that the tasks of each queue declare: a queue is heavy by its name, or by one of them."""
        heavy = {
            name
            for name, of_tasks in weights.items()
            if name == HEAVY_QUEUE or any(weight >= HEAVY_QUEUE_FROM for weight in of_tasks)
        }
        return cls(heavy=tuple(sorted(heavy)), other=tuple(sorted(weights.keys() - heavy)))

    def of_share(self, share: Share) -> tuple[str, ...]:
        """The queues of one process. A share that is empty takes all: no process idles, and no queue is left."""
        match share:
            case Share.ALL:
                queues: tuple[str, ...] = ()
            case Share.HEAVY:
                queues = self.heavy
            case Share.OTHER:
                queues = self.other
            case _ as never:
                assert_never(never)
        return queues or tuple(sorted(self.heavy + self.other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many processes there are, and what each is to do.

    ``options``: of a process that takes all that it may. ``processes`` and ``threads``: as asked for; ``None``: by the
    number of ``cpus`` and by the share.
    """

    options: ChildOptions
    processes: int | None
    threads: int | None
    cpus: int

    @property
    def may_divide(self) -> bool:
        """Whether queues are divided, if there are both kinds: not if they were named, or with a single process."""
        return not self.options.queues and self.processes != 1

    def at_first(self) -> list[ChildOptions]:
        """The processes that start before it is known which queues there are.

        If that makes a difference, one. It does not work on heavy queues, unless there is nothing else.
        """
        if self.may_divide:
            return [self._child(Share.OTHER)]
        return [self._child(Share.ALL)] * (self.processes or self.cpus)

    def in_all(self, *, both_kinds: bool) -> list[ChildOptions]:
        """All processes, those from the start first."""
        if not (self.may_divide and both_kinds):
            return [self._child(Share.ALL)] * (self.processes or self.cpus)
        # One more than CPUs: light calls mostly wait, for a database or a network, and heavy ones keep every CPU busy.
        total = self.processes or self.cpus + 1
        others = max(1, total // OTHERS_ONE_OF)
        return [self._child(Share.OTHER)] * others + [self._child(Share.HEAVY)] * (total - others)

    def _child(self, share: Share) -> ChildOptions:
        threads = HEAVY_THREADS if share is Share.HEAVY else DEFAULT_THREADS
        return replace(self.options, share=share, threads=self.threads or threads)
