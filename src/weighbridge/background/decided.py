"""A decided call: one that was added to a facade, with its decision and what the commit has made of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from starlette.background import BackgroundTask

from weighbridge.background.call_task import CallTask
from weighbridge.background.claim import QueuedCall
from weighbridge.background.commit import Commit, Standing
from weighbridge.call import REFUSED_RULE, Call
from weighbridge.decision import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedCall:
    """``lane``, ``rule`` and ``revision`` are the decision's, but where the commit has kept a queued call here."""

    call: Call
    lane: Lane
    rule: str
    revision: str
    standing: Standing


def decided_calls(
    tasks: Sequence[BackgroundTask], queued: Sequence[QueuedCall], commit: Commit
) -> Sequence[DecidedCall]:
    """A facade's calls in the order in which they were added. Items that were put into ``tasks`` by hand are none."""
    here, there = commit.standing(queued=False), commit.standing(queued=True)
    found: list[tuple[int, int, DecidedCall]] = []
    for place, call, ticket in queued:
        if ticket.lane is Lane.QUEUE:
            found.append((place, 0, _decided(call, there)))
        else:
            kept = DecidedCall(call=call, lane=ticket.lane, rule=REFUSED_RULE, revision="", standing=here)
            found.append((place, 0, kept))
    found += [(place, 1, _decided(item.call, here)) for place, item in enumerate(tasks) if isinstance(item, CallTask)]
    return [each for _, _, each in sorted(found, key=itemgetter(0, 1))]


def _decided(call: Call, standing: Standing) -> DecidedCall:
    decision = call.decision
    return DecidedCall(call=call, lane=decision.lane, rule=decision.rule, revision=decision.revision, standing=standing)
