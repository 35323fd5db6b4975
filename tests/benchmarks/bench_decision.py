"""What a decision costs: a static one, and one by seven rules over load.

``python -m tests.benchmarks.bench_decision [--rounds 25] [--decisions 20000]``. Each round makes so many decisions of
each kind, with the readings of an open dispatcher; the medians over the rounds are printed. It exits with 1 if a target
is missed: 1 µs for a static decision, 5 µs for a dynamic one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import anyio
from tests.benchmarks.decided import light
from tests.fundamentals.broker import MemoryBroker

from weighbridge import BackgroundTasks, Dispatcher
from weighbridge.call import NO_OPTIONS
from weighbridge.chooser import Chooser
from weighbridge.decision import Decision
from weighbridge.policy import Policy, load_policy, parse_policy

STATIC_TARGET_US = 1.0
DYNAMIC_TARGET_US = 5.0
#: None of them matches a light call in an idle process, so each decision evaluates all.
SEVEN_RULES = """
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50 or (is_async and weight >= 5)"
lane = "queue"

[[rule]]
name = "billing"
when = "'billing' in tags and in_process.waiting >= 2"
lane = "queue"

[[rule]]
name = "mail"
when = "queue in ['mail', 'letters'] and loop.lag_ms > 5"
lane = "queue"

[[rule]]
name = "busy"
when = "in_process.waiting >= 8"
lane = "queue"

[[rule]]
name = "late"
when = "loop.lag_ms > 2000 and not is_async"
lane = "queue"

[[rule]]
name = "no threads"
when = "in_process.threads_free == 0 and in_process.running > 7"
lane = "queue"

[[rule]]
name = "urgent"
when = "priority < 0 and in_process.waiting >= 1"
lane = "queue"

[otherwise]
lane = "in_process"
"""


def decide(chooser: Chooser) -> Callable[[], Decision]:
    """What ``add_task`` asks the chooser, less the call that it makes of the answer."""
    target = chooser._target(light)
    return lambda: chooser._decide(target, 1.0, (), {}, NO_OPTIONS, 0)[0]


def microseconds(run: Callable[[], object], *, decisions: int) -> float:
    before = time.perf_counter()
    for _ in range(decisions):
        run()
    return (time.perf_counter() - before) / decisions * 1e6


async def measure(policy: Policy, *, rounds: int, decisions: int) -> tuple[float, str]:
    """The median of a decision in microseconds, and the rule that decided."""
    async with Dispatcher(policy=policy, broker=MemoryBroker()) as dispatcher:
        assert dispatcher.dispatch is not None
        run = decide(dispatcher.dispatch.chooser)
        rule = run().rule
        await anyio.sleep(0.2)  # the sampler of the loop's lag has a reading by then
        return statistics.median(microseconds(run, decisions=decisions) for _ in range(rounds)), rule


async def add_task(*, rounds: int, decisions: int) -> float:
    """The median of a whole ``add_task`` with a static decision, in microseconds."""
    async with Dispatcher(broker=MemoryBroker()) as dispatcher:
        found = []
        for _ in range(rounds):
            tasks = BackgroundTasks(dispatcher=dispatcher)
            found.append(microseconds(partial(tasks.add_task, light), decisions=min(decisions, 1_000)))
            tasks.discard()
        return statistics.median(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--decisions", type=int, default=20_000)
    given = parser.parse_args()
    options = {"rounds": given.rounds, "decisions": given.decisions}
    static, _ = anyio.run(partial(measure, load_policy("by-weight"), **options))
    seven = parse_policy(SEVEN_RULES, name="seven", source="seven rules")
    dynamic, rule = anyio.run(partial(measure, seven, **options))
    if rule != "otherwise":
        sys.exit(f"rule {rule!r} decided before all seven were evaluated")
    print(f"static decision              {static:6.2f} µs (target {STATIC_TARGET_US:g})")
    print(f"dynamic, seven rules         {dynamic:6.2f} µs (target {DYNAMIC_TARGET_US:g})")
    print(f"add_task, static decision    {anyio.run(partial(add_task, **options)):6.2f} µs")
    return 0 if static <= STATIC_TARGET_US and dynamic <= DYNAMIC_TARGET_US else 1


if __name__ == "__main__":
    sys.exit(main())
