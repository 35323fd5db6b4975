"""One trial: one fault on one side, with the calls that are made meanwhile, what was measured and what did not hold."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from tests.faults.account import Account, Answer, Attempt, Holdings
from tests.faults.load import Load, Request
from tests.faults.record import Line, Mark
from tests.faults.rig import PROCESSES, THREADS, Rig
from tests.faults.side import Ours
from tests.faults.work import FAILING_PER_CENT, Kind

T = TypeVar("T")


class Scale(StrEnum):
    """How much of a fault."""

    SHORT = "short"
    """Less of everything, for each run of the tests."""
    LONG = "long"
    """The figures of the promise."""


#: Seconds in which everything must have ended after a fault, by scale. weighbridge gets far more in the short form, so
#: that a slow machine fails no test; how long it took is measured all the same.
RECOVERY_S: Final = {Scale.SHORT: 4.0, Scale.LONG: 60.0}
PATIENCE_S: Final = {Scale.SHORT: 60.0, Scale.LONG: 120.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of a trial. ``problems`` empty: every promise held."""

    side: str
    account: Account
    figures: dict[str, str]
    problems: tuple[str, ...]
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault: ``act`` brings it about in a trial. ``promise`` is what must hold, in a few words.

    ``compared``: the scales in which plain Dramatiq runs too, and must break, or the fault proves nothing. ``direct``:
    times are measured that proxies would lengthen, so in the long form both sides reach the server without them, and
    it writes its file to disk once a second, as it does by default, not before each reply.
    """

    name: str
    title: str
    promise: str
    act: Callable[[Trial], None]
    compared: frozenset[Scale] = frozenset(Scale)
    direct: bool = False


@dataclass(slots=True, kw_only=True)
class Trial:
    """One fault on one rig. The seed of ``rng`` makes two trials alike."""

    name: str
    rig: Rig
    scale: Scale
    rng: random.Random
    figures: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    may_stay: set[str] = field(default_factory=set)
    delays_s: dict[str, float] = field(default_factory=dict)
    _made: int = 0

    @property
    def ours(self) -> bool:
        """Whether this is weighbridge."""
        return isinstance(self.rig.side, Ours)

    def pick(self, *, short: T, long: T) -> T:
        """A value by the scale."""
        return short if self.scale is Scale.SHORT else long

    # -- calls ----------------------------------------------------------------------------------------------

    def new_call(self) -> str:
        """An id under which one call is counted."""
        self._made += 1
        return f"{self.name}-{self._made}"

    def mixed(self, count: int, *, ms: int = 5) -> Iterator[Request]:
        """Requests of which 15 % fail in their first run and 10 % are delayed by up to a second."""
        for _ in range(count):
            fails = self.rng.randrange(100) < FAILING_PER_CENT
            delay_ms = self.rng.randrange(200, 1000) if self.rng.randrange(10) == 0 else 0
            kind = Kind.FAILING if fails else Kind.PLAIN
            call = self.new_call()
            self.delays_s[call] = delay_ms / 1000
            yield Request(call=call, kind=kind, ms=self.rng.randrange(2 * ms + 1), delay_ms=delay_ms)

    def plain(self, count: int, *, ms: int = 0, kind: Kind = Kind.PLAIN) -> Iterator[Request]:
        """Requests that are all alike."""
        for _ in range(count):
            yield Request(call=self.new_call(), kind=kind, ms=ms)

    def load(self, requests: Iterable[Request], *, per_s: float | None = None, port: int | None = None) -> Load:
        """Start a load whose attempts are counted."""
        load = Load(port or self.rig.service.port, requests, per_s=per_s)
        self.loads.append(load)
        load.start()
        return load

    # -- what came of them ----------------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """The lines of this trial in the record."""
        return [line for line in self.rig.record.lines() if line.call.rpartition("-")[0] == self.name]

    def started(self) -> int:
        """How many runs have started."""
        return sum(line.mark is Mark.STARTED for line in self.lines())

    def most_at_once(self) -> int:
        """How many calls run beside each other now.

        So many are added that each process has more than it can run, and they take longer than a busy machine needs to
        add them. Not before the service takes calls again: a write that was late has opened its breaker.
        """
        self._wait_until_accepted()
        before = len(self.lines())
        self.load(self.plain(4 * PROCESSES * THREADS, ms=700))
        self.settle()
        now = most = 0
        for line in sorted(self.lines()[before:], key=lambda line: line.at_s):
            now += 1 if line.mark is Mark.STARTED else -1
            most = max(most, now)
        return most

    def _wait_until_accepted(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S[self.scale]
        while time.monotonic() < deadline_s:
            load = self.load(self.plain(1))
            load.join()
            if [each.answer for each in load.attempts] == [Answer.ACCEPTED]:
                return
            time.sleep(0.25)

    def early(self) -> int:
        """How many delayed calls have started before they were due."""
        first_s: dict[str, float] = {}
        for line in self.lines():
            if line.mark is Mark.STARTED:
                first_s.setdefault(line.call, line.at_s)
        attempts = (attempt for load in self.loads for attempt in load.attempts)
        due_s = {each.call: each.sent_at_s + self.delays_s.get(each.call, 0.0) for each in attempts}
        return sum(at_s < due_s.get(call, 0.0) for call, at_s in first_s.items())

    def holdings(self) -> Holdings:
        """What the server holds of this trial."""
        held = self.rig.side.holdings(self.rig.client)
        return Holdings(
            present={call: count for call, count in held.present.items() if self._is_mine(call)},
            dead={call: reason for call, reason in held.dead.items() if self._is_mine(call)},
        )

    def account(self) -> Account:
        """The account as it stands."""
        attempts = [*self.attempts, *(attempt for load in self.loads for attempt in load.attempts)]
        mine = [attempt for attempt in attempts if self._is_mine(attempt.call)]
        # Lines after holdings: what ends between the two looks must be seen in one of them.
        holdings = self.holdings()
        return Account.of(mine, self.lines(), holdings, may_stay=self.may_stay)

    def settle(self) -> float:
        """Wait until every call that was accepted has ended; the seconds that it took, or that were given."""
        given_s = (PATIENCE_S if self.ours else RECOVERY_S)[self.scale]
        start_s = time.monotonic()
        for load in self.loads:
            load.join()
        while time.monotonic() < start_s + given_s:
            account = self.account()
            if not account.stranded and not account.lost and not self.holdings().present:
                break
            time.sleep(0.1)
        return time.monotonic() - start_s

    def expect(self, held: bool, broken: str) -> None:
        """Note ``broken`` if this promise has not ``held``."""
        if not held:
            self.problems.append(broken)

    def _is_mine(self, call: str) -> bool:
        return call.rpartition("-")[0] == self.name


def run(fault: Fault, rig: Rig, *, scale: Scale, seed: int) -> Result:
    """Run one fault on one side."""
    rig.renew()
    trial = Trial(name=fault.name, rig=rig, scale=scale, rng=random.Random(f"{fault.name} {seed}"))
    start_s = time.monotonic()
    try:
        fault.act(trial)
    finally:
        for load in trial.loads:  # or the next trial would have it beside its own
            load.stop()
    account = trial.account()
    return Result(
        side=rig.side.name,
        account=account,
        figures=trial.figures,
        problems=(*account.problems(), *trial.problems),
        took_s=time.monotonic() - start_s,
    )
