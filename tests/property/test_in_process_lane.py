"""The lane under any course of events: each call ends in one way, runs here or in the queue, and in its turn."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from random import Random
from unittest.mock import patch

import anyio
import anyio.lowlevel
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from weighbridge.arguments import ArgumentCodec
from weighbridge.call import Call, CallOptions
from weighbridge.cancellation import to_the_end
from weighbridge.decision import Decision, Lane
from weighbridge.errors import UnavailableError
from weighbridge.handover import NoHandOver
from weighbridge.lanes.in_process import HandedOver, HandOver, InProcessCounts, InProcessLane
from weighbridge.task import Registry, TaskSpec

DECISION = Decision(lane=Lane.IN_PROCESS, reason="test", rule="test")
EXPIRED = CallOptions(expires_s=1.0)


class World:
    """Calls of all kinds, a queue that answers as it likes, and what was seen of both."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.repeatable = random.random() < 0.5
        self.running: set[Call] = set()
        self.runs: dict[Call, int] = {}
        self.gone: set[Call] = set()
        self.may_cross: set[Call] = set()
        self.chain_of: dict[Call, list[Call]] = {}
        self.wrong: list[str] = []
        self.draining = False

    # -- calls ----------------------------------------------------------------------------------------------

    def call(self, number: int) -> Call:
        kind = self.random.choice(["ends", "ends", "fails", "sync", "hangs", "fails_late"])

        async def ends() -> None:
            await self._run(call, kind)

        def ends_on_a_thread() -> None:
            self._begins(call)
            self.running.discard(call)

        func = ends_on_a_thread if kind == "sync" else ends
        call = Call(
            id=str(number),
            name=kind,
            func=func,
            args=(),
            kwargs={},
            spec=TaskSpec(
                name=kind,
                func=func,
                is_async=kind != "sync",
                codec=ArgumentCodec(func, task=kind),
                retries=self.random.choice([0, 2]),
                min_backoff_s=self.random.choice([0.001, 60.0]),
                max_backoff_s=60.0,
            ),
            is_async=kind != "sync",
            decision=DECISION,
            context=copy_context(),
            added_at_s=0.0,
            options=EXPIRED if self.random.random() < 0.1 else CallOptions(),
        )
        if self.random.random() < 0.7:
            self.may_cross.add(call)
        return call

    async def _run(self, call: Call, kind: str) -> None:
        self._begins(call)
        try:
            for _ in range(self.random.randrange(4)):
                await anyio.lowlevel.checkpoint()
            if kind == "fails":
                raise OSError
            if kind in {"hangs", "fails_late"}:
                await anyio.sleep_forever()
        finally:
            self.running.discard(call)
            if kind == "fails_late":
                raise OSError

    def _begins(self, call: Call) -> None:
        self.runs[call] = self.runs.get(call, 0) + 1
        chain = self.chain_of[call]
        place = chain.index(call)
        self._check(call not in self.gone, "ran though the queue may have it")
        # At the end nobody waits behind a call that waits for its next attempt.
        if not (self.draining and self.runs[call] > 1):
            beside = {each for each in self.running.intersection(chain) if not (self.draining and self.runs[each] > 1)}
            after = [later for later in chain[place + 1 :] if later in self.runs]
            self._check(not beside, "ran beside a call of its chain")
            self._check(not after, "ran after a later call of its chain")
        self.running.add(call)

    def _check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.wrong.append(problem)

    # -- the queue ------------------------------------------------------------------------------------------

    def obstacle(self, call: Call) -> str | None:
        return None if call in self.may_cross else "must stay"

    async def hand_over(self, calls: Mapping[Call, int]) -> HandedOver:
        fates: dict[str, list[Call]] = {"taken": [], "kept": [], "unknown": [], "refused": []}
        for call in calls:
            fate = self.random.choice([*fates])
            self._check(call in self.may_cross, "was handed over though it must stay")
            self._check(call not in self.running, "was handed over while it ran")
            self._check(calls[call] == self.runs.get(call, 0), "was handed over with another count of attempts")
            self._check(self.repeatable or call not in self.gone, "was handed over twice")
            fates[fate].append(call)
            if fate in {"taken", "unknown"}:
                self.gone.add(call)
        for _ in range(self.random.randrange(5)):
            await to_the_end(anyio.lowlevel.checkpoint)
        return HandedOver(
            taken=fates["taken"],
            kept=fates["kept"],
            unknown=fates["unknown"],
            refused=dict.fromkeys(fates["refused"], "refused"),
        )

    # -- requests -------------------------------------------------------------------------------------------

    async def request(
        self, lane: InProcessLane, calls: list[Call], *, late: anyio.Event, scope: anyio.CancelScope
    ) -> None:
        self.chain_of.update(dict.fromkeys(calls, calls))
        for _ in range(self.random.randrange(3)):
            await anyio.lowlevel.checkpoint()
        try:
            await lane.reserve(calls)
        except UnavailableError:
            return
        with scope:
            if self.random.random() < 0.3:
                await late.wait()
            for _ in range(self.random.randrange(6)):
                await to_the_end(anyio.lowlevel.checkpoint)
        if (end := self.random.random()) < 0.1:
            lane.release(calls)
        elif end < 0.9:
            await lane.start(calls).wait()


async def course(seed: int) -> tuple[World, InProcessCounts]:
    random = Random(seed)
    world = World(random)
    queues: list[HandOver] = [world, world, NoHandOver(registry=Registry())]
    lane = InProcessLane(
        threads=random.choice([1, 3]),
        running_limit=random.choice([1, 3]),
        waiting_limit=random.choice([4, 30]),
        admission_timeout_s=random.choice([0.0, 0.005]),
        drain_timeout_s=random.choice([0.0, 0.005, 0.02]),
        clock=lambda: 10.0,
        hand_over=random.choice(queues),
    )
    late = anyio.Event()
    scopes = [anyio.CancelScope() for _ in range(random.randrange(1, 12))]
    numbers = iter(range(100))

    async def disturb() -> None:
        for scope in scopes:
            if random.random() < 0.3:
                scope.cancel()
            await anyio.lowlevel.checkpoint()
        late.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group, lane:
            for scope in scopes:
                calls = [world.call(next(numbers)) for _ in range(random.randrange(1, 5))]
                group.start_soon(_request, world, lane, calls, late, scope)
            for _ in range(random.randrange(8)):
                await anyio.lowlevel.checkpoint()
            group.start_soon(disturb)
            world.draining = True
    return world, lane.counts()


async def _request(
    world: World, lane: InProcessLane, calls: list[Call], late: anyio.Event, scope: anyio.CancelScope
) -> None:
    try:
        await world.request(lane, calls, late=late, scope=scope)
    except Exception as error:  # noqa: BLE001  # told at the end, or the group would cancel what is looked at
        world.wrong.append(repr(error))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_each_call_ends_in_one_way_and_in_its_turn(backend: str, seed: int) -> None:
    with patch("weighbridge.lanes.in_process.drain.PAUSE_S", 0.002):
        world, counts = anyio.run(course, seed, backend=backend)

    assert world.wrong == []
    ended = (
        counts.succeeded
        + counts.failed
        + counts.expired
        + counts.cancelled
        + counts.handed_over
        + counts.unknown
        + counts.not_finished
        + counts.not_started
    )
    assert (counts.accepted, counts.waiting, counts.running) == (ended, 0, 0)
    assert all(runs <= 1 + (call.spec.retries or 0) for call, runs in world.runs.items() if call.spec is not None)
