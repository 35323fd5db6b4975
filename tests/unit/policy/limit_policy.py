"""A policy in code that is made of one value: the revision of it is that of the value."""

from __future__ import annotations

from typing import cast

from weighbridge.decision import Decision, Facts, Lane

QUEUED = Decision(Lane.QUEUE, "r", "r")
STAYS = Decision(Lane.IN_PROCESS, "r", "r")


def chosen(facts: Facts, limit: float) -> Decision:
    return QUEUED if facts.weight >= limit else STAYS


class OfItsValues:
    def __init__(self, limit: object) -> None:
        self.limit = limit

    def decide(self, facts: Facts, /) -> Decision:
        return chosen(facts, cast("float", self.limit))


class Limit:
    """What a policy of this module may hold."""

    def __init__(self, value: object) -> None:
        self.value = value
