"""Replies that are lost after the server has done what was asked: to a write, to a fetch, to the end of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.faults.proxy import Appetite, Proxy
from tests.faults.rig import Rig
from tests.faults.side import Exchange
from tests.faults.trial import Fault, Trial
from tests.faults.work import Kind


def eat_replies(trial: Trial, *, exchange: Exchange, line: Callable[[Rig], Proxy], kind: Kind) -> None:
    """Eat a reply now and then while calls come in; half of one every other time."""
    meals = trial.pick(short=12, long=60)  # with four, plain Dramatiq now and then had luck
    proxy = line(trial.rig)
    load = trial.load(trial.plain(100_000, kind=kind), per_s=trial.pick(short=100.0, long=150.0))
    eaten = 0
    matches = trial.rig.side.matches(exchange)
    # A reader asks all the time, and is mostly told that there is nothing: no loss.
    holding = b"message_id" if exchange is Exchange.FETCH else b""
    for number in range(meals):
        appetite = proxy.eat(
            Appetite(matches=matches, holding=holding, skip=trial.rng.randrange(5), half=number % 2 == 1)
        )
        deadline_s = time.monotonic() + 4.0
        while not appetite.eaten and time.monotonic() < deadline_s:
            time.sleep(0.005)
        eaten += len(appetite.eaten)
        proxy.pass_all()
        time.sleep(trial.pick(short=0.1, long=1.0))
    load.stop()
    settled_s = trial.settle()
    account = trial.account()
    trial.figures["eaten"] = str(eaten)
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(eaten > 0, "no reply was eaten, so nothing was tried")
    trial.expect(not account.dead, f"{len(account.dead)} dead")
    trial.expect(not account.duplicated, f"{len(account.duplicated)} duplicated")


FAULTS: Final = (
    Fault(
        name="enqueue-reply-eaten",
        title="the reply to a write is lost, the write is not",
        promise="no call runs twice, none is accepted and lost",
        act=partial(eat_replies, exchange=Exchange.ENQUEUE, line=lambda rig: rig.web_line, kind=Kind.PLAIN),
    ),
    Fault(
        name="fetch-reply-eaten",
        title="the reply to a fetch is lost, with the calls in it",
        promise="none is stranded, none runs twice",
        act=partial(eat_replies, exchange=Exchange.FETCH, line=lambda rig: rig.worker_line, kind=Kind.PLAIN),
    ),
    Fault(
        name="end-reply-eaten",
        title="the reply to the end of a failed run (its retry and its acknowledgement) is lost",
        promise="no retry is lost, none is doubled",
        act=partial(eat_replies, exchange=Exchange.END, line=lambda rig: rig.worker_line, kind=Kind.FAILING),
    ),
)
