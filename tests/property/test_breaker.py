"""The breaker under any order of events: it probes at a bounded rate, comes back, and lets nothing through before."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from weighbridge.lanes.queue.breaker import FIRST_PAUSE_S, JITTER_SHARE, LONGEST_PAUSE_S, Breaker, BreakerState

JITTERS = st.floats(0, 1, exclude_max=True)
SHORTEST_S = FIRST_PAUSE_S * (1 - JITTER_SHARE)


class BreakerMachine(RuleBasedStateMachine):
    """Time passes; writes, probes and pings begin and end as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0
        self.breaker = Breaker()
        self.opened_s: list[float] = []
        self.probes_s: list[float] = []

    def become(self, breaker: Breaker, *, may: set[BreakerState]) -> None:
        assert breaker.state in {self.breaker.state, *may}
        if self.breaker.state is not BreakerState.OPEN and breaker.state is BreakerState.OPEN:
            self.opened_s.append(self.now_s)
        self.breaker = breaker

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        before = self.breaker
        self.now_s += seconds
        assert self.breaker is before, "nothing happens by itself"

    @rule(jitter=JITTERS)
    def something_fails(self, jitter: float) -> None:
        was = self.breaker
        self.become(self.breaker.failed(now_s=self.now_s, jitter=jitter), may={BreakerState.OPEN})
        assert self.breaker.state is BreakerState.OPEN
        if was.state is BreakerState.OPEN:
            assert self.breaker is was, "what fails while it is open puts no probe off"

    @rule()
    def the_broker_takes_a_write(self) -> None:
        self.become(self.breaker.succeeded(now_s=self.now_s), may={BreakerState.CLOSED})
        assert self.breaker.state is BreakerState.CLOSED

    @rule()
    def the_prober_looks(self) -> None:
        was = self.breaker
        due = was.state is BreakerState.OPEN and self.now_s >= was.probe_at_s
        self.become(was.probing(now_s=self.now_s), may={BreakerState.HALF_OPEN})
        assert (self.breaker.state is BreakerState.HALF_OPEN) == (due or was.state is BreakerState.HALF_OPEN)
        if due:
            self.probes_s.append(self.now_s)
            assert self.breaker.probing(now_s=self.now_s + 100) is self.breaker, "one probe at a time"

    @invariant()
    def a_probe_comes_and_not_at_once(self) -> None:
        in_s = self.breaker.next_probe_in_s(now_s=self.now_s)
        assert (in_s is not None) == (self.breaker.state is BreakerState.OPEN)
        if self.breaker.state is BreakerState.OPEN:
            assert SHORTEST_S - 1e-9 <= self.breaker.probe_at_s - self.opened_s[-1] <= LONGEST_PAUSE_S + 1e-9

    @invariant()
    def probes_are_apart(self) -> None:
        assert all(later - one >= SHORTEST_S - 1e-9 for one, later in pairwise(self.probes_s))


BreakerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestBreaker = BreakerMachine.TestCase


@given(jitters=st.lists(JITTERS, min_size=1, max_size=12), outage_s=st.floats(0, 120))
def test_after_an_outage_of_any_length_the_first_probe_that_succeeds_comes_within_the_longest_pause(
    jitters: list[float], outage_s: float
) -> None:
    now_s, back_s, number = 0.0, outage_s, 0
    breaker = Breaker().failed(now_s=now_s, jitter=jitters[0])
    while breaker.state is not BreakerState.CLOSED:
        now_s = breaker.probe_at_s
        number += 1
        breaker = breaker.probing(now_s=now_s)
        assert breaker.state is BreakerState.HALF_OPEN
        if now_s >= back_s:
            breaker = breaker.succeeded(now_s=now_s)
        else:
            breaker = breaker.failed(now_s=now_s, jitter=jitters[number % len(jitters)])
    assert now_s - back_s <= LONGEST_PAUSE_S + 1e-9


def test_the_pause_doubles_up_to_the_longest_and_begins_anew_after_a_quiet_time() -> None:
    breaker, now_s, pauses = Breaker(), 0.0, []
    for _ in range(7):
        breaker = breaker.failed(now_s=now_s, jitter=0)
        pauses.append(breaker.probe_at_s - now_s)
        now_s = breaker.probe_at_s
        breaker = breaker.probing(now_s=now_s)
    assert pauses == [0.25, 0.5, 1, 2, 4, 5, 5]
    breaker = breaker.succeeded(now_s=now_s)
    again = breaker.failed(now_s=now_s + LONGEST_PAUSE_S, jitter=0)
    assert again.pause_s == FIRST_PAUSE_S


def test_a_broker_that_takes_probes_and_refuses_calls_is_asked_ever_less_often() -> None:
    breaker, now_s, pauses = Breaker(), 0.0, []
    for _ in range(6):
        breaker = breaker.failed(now_s=now_s, jitter=0)
        pauses.append(breaker.pause_s)
        now_s = breaker.probe_at_s
        breaker = breaker.probing(now_s=now_s).succeeded(now_s=now_s)
        now_s += 0.01
    assert pauses == [0.25, 0.5, 1, 2, 4, 5]
