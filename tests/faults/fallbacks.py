"""Calls that may run here when the queue is not available: in one place or the other, never in both, never in none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.faults.account import Answer
from tests.faults.load import Request
from tests.faults.proxy import Appetite
from tests.faults.record import Mark, Place
from tests.faults.side import Exchange
from tests.faults.trial import Fault, Trial

#: Replies that are eaten one after the other, so that the service has no second chance in its time for a write.
ALL: Final = 100_000
#: Seconds after which a fault's end is taken for one that the service does not notice.
BACK_S: Final = 10.0


def run_here(trial: Trial) -> None:
    """The broker refuses, falls silent, and loses replies to writes that it has done, all for the service alone."""
    gone_s = trial.pick(short=1.5, long=10.0)
    line = trial.rig.web_line
    load = trial.load(_requests(trial), per_s=100.0)
    time.sleep(0.5)
    line.refuse()
    time.sleep(gone_s)
    line.accept()
    _wait_for_queue(trial)
    line.silence()
    time.sleep(gone_s)
    line.speak()
    _wait_for_queue(trial)
    singly = sum(_eat(trial, count=1, for_s=4.0) for _ in range(trial.pick(short=3, long=40)))
    in_a_row = _eat(trial, count=ALL, for_s=gone_s)
    _wait_for_queue(trial)
    load.stop()
    settled_s = trial.settle()
    account = trial.account()
    starts = Counter((line.call, line.place) for line in trial.lines() if line.mark is Mark.STARTED)
    here = {call for call, place in starts if place is Place.WEB}
    there = {call for call, place in starts if place is Place.WORKER}
    trial.figures["eaten"] = f"{singly} singly, {in_a_row} in a row"
    trial.figures["ran in the service"] = str(len(here))
    trial.figures["ran in a worker"] = str(len(there))
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(not here & there, f"{len(here & there)} ran in both places")
    trial.expect(not account.duplicated, f"{len(account.duplicated)} duplicated")
    trial.expect(not account.dead, f"{len(account.dead)} dead")
    guessed = here & account.unknown
    trial.expect(not guessed, f"{len(guessed)} of unknown fate ran in the service")
    trial.expect(singly > 0 and in_a_row > 0, "no reply was eaten, so nothing was tried")
    if trial.ours:  # plain Dramatiq has to break by what its service does, not by what it knows nothing of
        answers = [each for each in load.attempts if each.answer is not Answer.ACCEPTED]
        trial.expect({each.status for each in answers} <= {503}, "an answer that is neither 2xx nor 503")
        trial.expect(bool(here), "no call ran in the service, so nothing was tried")
        trial.expect(bool(account.unknown), "no outcome was unknown, so nothing was tried")


def _requests(trial: Trial) -> Iterator[Request]:
    for _ in range(ALL):
        call = trial.new_call()
        trial.may_stay.add(call)
        yield Request(call=call, path=f"/or-here/{call}")


def _wait_for_queue(trial: Trial) -> None:
    """Wait until calls go to the workers again: the service tries the queue only now and then while it fails."""
    before = _in_workers(trial)
    deadline_s = time.monotonic() + BACK_S
    while _in_workers(trial) < before + 20 and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _in_workers(trial: Trial) -> int:
    return sum(line.mark is Mark.STARTED and line.place is Place.WORKER for line in trial.lines())


def _eat(trial: Trial, *, count: int, for_s: float) -> int:
    """Eat the replies to so many writes, or to all of some seconds; how many there were."""
    line = trial.rig.web_line
    skip = trial.rng.randrange(5) if count == 1 else 0
    appetite = line.eat(Appetite(matches=trial.rig.side.matches(Exchange.ENQUEUE), skip=skip, count=count))
    deadline_s = time.monotonic() + for_s
    while len(appetite.eaten) < count and time.monotonic() < deadline_s:
        time.sleep(0.005)
    line.pass_all()
    time.sleep(0.1)
    return len(appetite.eaten)


FAULTS: Final = (
    Fault(
        name="run-here",
        title="the broker refuses, is silent, and loses replies, while calls come in that may run here instead",
        promise="each accepted call runs once, here or in a worker; one of unknown fate never runs here",
        act=run_here,
    ),
)
