"""All faults, in the order in which they are run and told."""

from __future__ import annotations

from typing import Final

from tests.faults import crashes, fallbacks, idle, kills, messages, outages, replies
from tests.faults.trial import Fault

FAULTS: Final[tuple[Fault, ...]] = (
    *kills.FAULTS,
    *outages.FAULTS,
    *replies.FAULTS,
    *fallbacks.FAULTS,
    *messages.FAULTS,
    *crashes.FAULTS,
    *idle.FAULTS,
)
