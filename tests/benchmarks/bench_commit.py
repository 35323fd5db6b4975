"""Calls per second and loop time of committing, against ``actor.send``: 32 callers on one event loop, no HTTP.

``python tests/benchmarks/bench_commit.py [--rounds 25] [--calls 960] [--callers 32]``. Both sides run in one process
against one server, in turns; each round gives one ratio, and the medians are printed. It exits with 1 if the target
(four times the calls per second of ``actor.send``) is missed.

*Loop time* is the time that the loop's thread spends on a call: for ``actor.send`` all of it, since it blocks; for
the lane, the loop's thread's own CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from weighbridge.call import Call
from weighbridge.decision import Decision, Lane
from weighbridge.declaration import task
from weighbridge.embedded import EmbeddedServer
from weighbridge.lanes.queue import QueueLane, connect
from weighbridge.task import TaskSpec, registry

TARGET = 4.0
QUEUED = Decision(lane=Lane.QUEUE, reason="a benchmark", rule="benchmark")


@task(weight=1, name="bench.charge")
def charge(order: UUID, cents: int) -> None:
    """What is queued; no worker runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One side of one round."""

    calls_per_s: float
    loop_us_per_call: float
    longest_block_ms: float


async def measured(one: Callable[[], Awaitable[None]], *, callers: int, calls: int) -> Measured:
    """Let ``callers`` coroutines make ``calls`` calls between them, while another watches how late the loop is."""
    longest = 0.0
    running = True

    async def watch() -> None:
        nonlocal longest
        while running:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    async def caller() -> None:
        for _ in range(calls // callers):
            await one()

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    wall, cpu = time.perf_counter(), time.thread_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    running = False
    await watcher
    made = calls // callers * callers
    return Measured(calls_per_s=made / wall, loop_us_per_call=cpu / made * 1e6, longest_block_ms=longest * 1e3)


def new_call(spec: TaskSpec) -> Call:
    """A call as ``add_task`` makes it, its arguments encoded and checked."""
    args = (uuid.uuid4(), 1999)
    return Call(
        id=str(uuid.uuid4()),
        name=spec.name,
        func=charge,
        args=args,
        kwargs={},
        spec=spec,
        is_async=False,
        decision=QUEUED,
        context=contextvars.Context(),
        added_at_s=0.0,
        payload=spec.codec.encode(args, {}),
    )


async def rounds(url: str, *, count: int, callers: int, calls: int) -> list[tuple[Measured, Measured]]:
    """Rounds of both sides, in turns."""
    spec = registry.of(charge)
    assert spec is not None
    # Dramatiq at its best here: a warm connection, and its client without a retry loop.
    stock = RedisBroker(url=url, namespace="stock")  # type: ignore[no-untyped-call]  # Dramatiq's

    @dramatiq.actor(broker=stock, actor_name="charge")
    def actor(order: str, cents: int) -> None: ...

    lane = QueueLane(
        broker=connect(url, namespace="lane", timeout_s=5), timeout_s=5, waiting_limit=10_000, close_broker=True
    )
    lane.bind(spec)
    lane.open()

    async def send() -> None:
        actor.send(str(uuid.uuid4()), 1999)
        await asyncio.sleep(0)  # a handler awaits something now and then; without it the callers run one by one

    ready: list[Call] = []

    async def commit() -> None:
        await lane.commit([ready.pop()])

    async def clean() -> None:
        await asyncio.to_thread(stock.client.flushdb)

    results = []
    for _ in range(count + 1):
        await clean()
        stock_side = await measured(send, callers=callers, calls=calls)
        await clean()
        ready.extend(new_call(spec) for _ in range(calls))
        lane_side = await measured(commit, callers=callers, calls=calls)
        results.append((stock_side, lane_side))
    await asyncio.to_thread(lane.close)
    stock.client.close()
    return results[1:]  # the first warms up


def main() -> int:
    """Run, print, and say whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--calls", type=int, default=960)
    options = parser.parse_args()
    with EmbeddedServer.start(tcp=True) as server:
        results = asyncio.run(rounds(server.url, count=options.rounds, callers=options.callers, calls=options.calls))
    ratios = [lane.calls_per_s / stock.calls_per_s for stock, lane in results]
    print(f"{options.callers} callers on one loop, {options.calls} calls a round, {len(results)} paired rounds")
    for name, side in (("actor.send", 0), ("QueueLane.commit", 1)):
        print(
            f"{name:17} {statistics.median(pair[side].calls_per_s for pair in results):8.0f} calls/s"
            f"   loop {statistics.median(pair[side].loop_us_per_call for pair in results):6.1f} us/call of CPU"
            f"   longest block {statistics.median(pair[side].longest_block_ms for pair in results):6.1f} ms"
        )
    median = statistics.median(ratios)
    print(f"ratio of calls/s: median {median:.2f}, from {min(ratios):.2f} to {max(ratios):.2f}; target {TARGET}")
    return 0 if median >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
