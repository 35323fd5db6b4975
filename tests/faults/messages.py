"""Messages that no worker can run: undecodable, for another queue, of an unknown task, wrong arguments, too big."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

import dramatiq
from tests.faults.rig import PROCESSES, THREADS
from tests.faults.side import QUEUE
from tests.faults.trial import PATIENCE_S, Fault, Trial

from weighbridge.lanes.queue.dead_letters import DeadReason
from weighbridge.lanes.queue.unknown_task import SINCE

LEVELS: Final = 64


def plant_bad_messages(trial: Trial) -> None:
    """Put bad messages between good ones, several of each; then see whether every thread still works."""
    before_reasons = trial.rig.side.reasons(trial.rig.client)
    load = trial.load(trial.plain(100, ms=5), per_s=100.0)
    bodies = [bad for _ in range(trial.pick(short=3, long=30)) for bad in _bad_bodies()]
    bodies += [_huge_body(trial)] * 3
    for number, (body, _) in enumerate(bodies):
        trial.rig.side.plant(trial.rig.client, body, number=number)
    load.join()
    settled_s = trial.settle()
    planted = Counter(str(reason) for _, reason in bodies)
    if trial.ours:
        _wait_for_letters(trial, before_reasons.total() + planted.total())
    beside = trial.most_at_once()
    reasons = trial.rig.side.reasons(trial.rig.client) - before_reasons
    trial.figures["bad messages"] = str(len(bodies))
    trial.figures["dead letters"] = ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"
    trial.figures["calls at one time afterwards"] = f"{beside} of {PROCESSES * THREADS}"
    trial.figures["all ended after"] = f"{settled_s:.1f} s"
    if trial.ours:  # plain Dramatiq keeps no reasons, and has to break by more than that
        trial.expect(reasons == planted, f"dead letters {dict(reasons)}, planted {dict(planted)}")
    trial.expect(beside == PROCESSES * THREADS, f"only {beside} threads of {PROCESSES * THREADS} are left")


def _wait_for_letters(trial: Trial, count: int) -> None:
    """Wait until there are so many dead letters, if it takes the time: those of calls with retries take a while."""
    deadline_s = time.monotonic() + PATIENCE_S[trial.scale]
    while trial.rig.side.reasons(trial.rig.client).total() < count and time.monotonic() < deadline_s:
        time.sleep(0.5)


def _bad_bodies() -> list[tuple[bytes, DeadReason]]:
    """Each kind of bad message, with the reason that its dead letter must have."""
    deep: Any = "x"
    for _ in range(LEVELS):
        deep = [deep]
    return [
        (b"\xff\xfe no message", DeadReason.UNDECODABLE),
        (b'{"queue_name": 1}', DeadReason.UNDECODABLE),
        (_body(("planted", "plain", 0), queue="elsewhere"), DeadReason.WRONG_QUEUE),
        (_body(("planted", "plain", 0), actor="faults.nobody"), DeadReason.UNKNOWN_TASK),
        (_body(("planted", {"no": "kind"}, "no number")), DeadReason.FAILED),
        (_body(("planted", deep, 0)), DeadReason.UNDECODABLE),
    ]


def _huge_body(trial: Trial) -> tuple[bytes, DeadReason]:
    """So large that each costs the server a second: a few are enough, for all wait meanwhile."""
    huge = "x" * trial.pick(short=2_000_000, long=50_000_000)
    return _body(("planted", "plain", huge)), DeadReason.TOO_LARGE


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
        promise="each dead-lettered with its own reason; neighbours and threads unaffected",
        act=plant_bad_messages,
    ),
)
