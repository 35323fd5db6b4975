"""Messages that no worker can run: undecodable, for another queue, of an unknown task, wrong arguments, too big."""

from __future__ import annotations

from typing import Any, Final

import dramatiq
from tests.faults.rig import PROCESSES, THREADS
from tests.faults.side import QUEUE
from tests.faults.trial import Fault, Trial

from weighbridge.lanes.queue.unknown_task import SINCE

LEVELS: Final = 64


def plant_bad_messages(trial: Trial) -> None:
    """Put bad messages between good ones, several of each; then see whether every thread still works."""
    before_reasons = trial.rig.side.reasons(trial.rig.client)
    load = trial.load(trial.plain(100, ms=5), per_s=100.0)
    bodies = [body for _ in range(trial.pick(short=3, long=30)) for body in _bad_bodies(trial)]
    for number, body in enumerate(bodies):
        trial.rig.side.plant(trial.rig.client, body, number=number)
    load.join()
    settled_s = trial.settle()
    beside = trial.most_at_once()
    reasons = trial.rig.side.reasons(trial.rig.client) - before_reasons
    trial.figures["bad messages"] = str(len(bodies))
    trial.figures["dead letters"] = ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"
    trial.figures["calls at one time afterwards"] = f"{beside} of {PROCESSES * THREADS}"
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    trial.expect(beside == PROCESSES * THREADS, f"only {beside} threads of {PROCESSES * THREADS} are left")


def _bad_bodies(trial: Trial) -> list[bytes]:
    deep: Any = "x"
    for _ in range(LEVELS):
        deep = [deep]
    return [
        b"\xff\xfe no message",
        b'{"queue_name": 1}',
        _body(("planted", "plain", 0), queue="elsewhere"),
        _body(("planted", "plain", 0), actor="faults.nobody"),
        _body(("planted", {"no": "kind"}, "no number")),
        _body(("planted", deep, 0)),
        _body(("planted", "plain", "x" * trial.pick(short=2_000_000, long=50_000_000))),
    ]


def _body(args: tuple[Any, ...], *, queue: str = QUEUE, actor: str = "faults.run") -> bytes:
    """A message that has waited since 1970, should its task be unknown."""
    message: dramatiq.Message[Any] = dramatiq.Message(
        queue_name=queue, actor_name=actor, args=args, kwargs={}, options={"redis_message_id": "planted", SINCE: 1}
    )
    return message.encode()


FAULTS: Final = (
    Fault(
        name="bad-messages",
        title="undecodable, for another queue, of an unknown task, with wrong arguments, 64 levels deep, far too big",
        promise="dead-lettered with the reason; neighbours and threads unaffected",
        act=plant_bad_messages,
    ),
)
