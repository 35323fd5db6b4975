"""A claim: that an item of ``.tasks`` is this facade's to run, whatever other list it was put into."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from starlette.background import BackgroundTask

from weighbridge.background.call_task import CallTask
from weighbridge.call import Call, CallOptions
from weighbridge.chooser import Chooser
from weighbridge.decision import Lane

_IN_PROCESS: Final = CallOptions(lane=Lane.IN_PROCESS)


class Claim(NamedTuple):
    """An item, its place among the items, and its call."""

    place: int
    task: BackgroundTask
    call: Call


def claims_on(tasks: Sequence[BackgroundTask], owner: object, chooser: Chooser) -> list[Claim]:
    """What ``owner`` has to run of ``tasks``; one that was put there by hand becomes a call that stays."""
    return [
        Claim(place, task, task.call if isinstance(task, CallTask) else chooser.choose(task, options=_IN_PROCESS))
        for place, task in enumerate(tasks)
        if not isinstance(task, CallTask) or task.claim(owner)
    ]


def in_order(claims: Sequence[Claim], places: Sequence[int], queued: Sequence[Call]) -> list[Call]:
    """The claimed calls and queued ones as they were added: ``places`` counts the items added before each of those."""
    calls = [(claim.place, 1, claim.call) for claim in claims]
    calls += [(place, 0, call) for place, call in zip(places, queued, strict=True)]
    return [call for _, _, call in sorted(calls, key=itemgetter(0, 1))]


def take(claims: Sequence[Claim]) -> list[Call]:
    """Take the items, so that they do nothing in any other list; the calls that another list has run already."""
    run = []
    for claim in claims:
        if isinstance(claim.task, CallTask):
            if claim.task.begun:
                run.append(claim.call)
            claim.task.begun = True
    return run
