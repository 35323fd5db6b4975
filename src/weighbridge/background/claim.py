"""The claim on items of ``.tasks``: that they are one facade's to run, whatever other list they were put into."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from starlette.background import BackgroundTask

from weighbridge.background.call_task import CallTask
from weighbridge.call import Call, CallOptions, Ticket
from weighbridge.chooser import Chooser
from weighbridge.decision import Lane

_IN_PROCESS: Final = CallOptions(lane=Lane.IN_PROCESS)

#: Of a queued call, how many items of ``.tasks`` were added before it, the call, and its ticket.
QueuedCall = tuple[int, Call, Ticket]


class Claim:
    """Items that one facade runs, and their calls; one that was put into ``.tasks`` by hand gets a call that stays."""

    __slots__ = ("_items", "calls")

    def __init__(self, tasks: Sequence[BackgroundTask], owner: object, chooser: Chooser) -> None:
        self._items: list[BackgroundTask] = []
        self.calls: list[Call] = []
        for task in tasks:
            if not isinstance(task, CallTask):
                self.calls.append(chooser.choose(task, options=_IN_PROCESS))
            elif not task.begun and task.owner in (None, owner):  # the first who asks gets it
                task.owner = owner
                self.calls.append(task.call)
            else:
                continue
            self._items.append(task)

    def with_queued(self, queued: Sequence[QueuedCall], tasks: Sequence[BackgroundTask]) -> list[Call]:
        """Its calls and queued ones as they were added."""
        place_of = {id(task): place for place, task in enumerate(tasks)}
        calls = [(place_of.get(id(item), 0), 1, call) for item, call in zip(self._items, self.calls, strict=True)]
        calls += [(place, 0, call) for place, call, _ in queued]
        return [call for _, _, call in sorted(calls, key=itemgetter(0, 1))]

    def take(self) -> list[Call]:
        """Take the items, so that they do nothing in any other list; the calls that another list has run already."""
        run = []
        for item in self._items:
            if isinstance(item, CallTask):
                if item.begun:
                    run.append(item.call)
                item.begun = True
        return run


def in_order(
    claim: Claim | None, kept: Sequence[Call], *, queued: Sequence[QueuedCall], tasks: Sequence[BackgroundTask]
) -> Sequence[Call]:
    """All calls that run in process, as they were added, after the queue did not take ``queued``; their tickets say so.

    ``kept`` are the calls of ``queued``.
    """
    for _, _, ticket in queued:
        ticket.stays_here()
    return kept if claim is None else claim.with_queued(queued, tasks)
