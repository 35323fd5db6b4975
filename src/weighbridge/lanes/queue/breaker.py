"""The breaker: a pure state machine that says when the broker is not asked, and when it is tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

#: Seconds before the first probe, and the longest that the doubling makes of them.
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
#: The share of a pause that jitter may take off, so that the processes of a service do not probe in step.
JITTER_SHARE: Final = 0.5


class BreakerState(StrEnum):
    """``closed``: calls are written. ``open``: they are refused. ``half_open``: so too, and a probe is under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A breaker at one moment. Each event gives the next one; nothing here waits, asks a clock or a broker.

    *One* finished failure of the broker opens it. A count of several would only make more requests wait for a time-out:
    a write to our own broker was repeated about three times within its deadline before it counts as failed, and one
    that refuses at once (no memory, read only) refuses the next as well. The price of opening for nothing is small: the
    first probe comes within 0.25 s.

    A probe is due after a pause that doubles with each that fails, from 0.25 s to 5 s, less up to a half by jitter.
    One that succeeds closes the breaker. If it opens again within 5 s, the pause goes on where it was: so a broker
    that takes the probe and refuses the calls costs one request each pause, not one each quarter of a second.

    Times are seconds of one monotonic clock.
    """

    state: BreakerState = BreakerState.CLOSED
    pause_s: float = 0.0
    probe_at_s: float = math.inf
    closed_at_s: float = -math.inf

    def failed(self, *, now_s: float, jitter: float) -> Breaker:
        """After a write, a probe or a ping that failed by the broker's fault; ``jitter`` is from 0 up to 1.

        While it is open that is no news: what was under way when it opened fails later than that.
        """
        if self.state is BreakerState.OPEN:
            return self
        goes_on = self.state is BreakerState.HALF_OPEN or now_s - self.closed_at_s < LONGEST_PAUSE_S
        pause_s = min(LONGEST_PAUSE_S, 2 * self.pause_s) if goes_on and self.pause_s else FIRST_PAUSE_S
        probe_at_s = now_s + pause_s * (1 - JITTER_SHARE * jitter)
        return replace(self, state=BreakerState.OPEN, pause_s=pause_s, probe_at_s=probe_at_s)

    def succeeded(self, *, now_s: float) -> Breaker:
        """After a write or a probe that the broker took, whatever came before."""
        if self.state is BreakerState.CLOSED:
            return self
        return replace(self, state=BreakerState.CLOSED, probe_at_s=math.inf, closed_at_s=now_s)

    def probing(self, *, now_s: float) -> Breaker:
        """With a probe begun, if one is due; else the same."""
        if self.state is not BreakerState.OPEN or now_s < self.probe_at_s:
            return self
        return replace(self, state=BreakerState.HALF_OPEN, probe_at_s=math.inf)

    def next_probe_in_s(self, *, now_s: float) -> float | None:
        """Seconds until a probe is due, 0 if it is; ``None`` unless it is open."""
        return max(0.0, self.probe_at_s - now_s) if self.state is BreakerState.OPEN else None
