"""Room in process: bounded, first come first served, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from weighbridge.call import Call
from weighbridge.cancellation import CancelledAfterwards
from weighbridge.errors import DrainingError, LaneFullError
from weighbridge.lanes.in_process.room import Room

from .in_process_calls import call

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def some() -> None: ...


def calls(number: int) -> list[Call]:
    return [call(some) for _ in range(number)]


def draining(refused: Sequence[Call]) -> DrainingError:
    return DrainingError(problem="shuts down", tasks=[each.name for each in refused], unknown=False, retry_after_s=1)


async def until_someone_waits(room: Room, number: int = 1) -> None:
    with anyio.fail_after(5):
        while len(room._applicants) < number:
            await anyio.lowlevel.checkpoint()


async def test_who_waits_gets_the_room_that_comes() -> None:
    room = Room(limit=2)
    first = calls(2)
    assert room.take(first)
    late = calls(1)

    async with anyio.create_task_group() as group:
        group.start_soon(partial(room.wait_for, late, timeout_s=5))
        await until_someone_waits(room)
        room.leave(first[0])

    assert list(room.calls) == [first[1], *late]
    assert room.refused == 0


async def test_room_that_is_given_back_is_counted_though_who_waits_takes_it_at_once() -> None:
    room = Room(limit=2)
    first = calls(2)
    assert room.take(first)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(room.wait_for, calls(1), timeout_s=5))
        await until_someone_waits(room)

        assert room.leave_all(first) == 2


async def test_the_room_goes_to_whoever_came_first_and_nobody_slips_in() -> None:
    room = Room(limit=3)
    first = calls(3)
    assert room.take(first)
    admitted: list[str] = []

    async def apply(name: str, number: int) -> None:
        await room.wait_for(calls(number), timeout_s=5)
        admitted.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(apply, "wants two", 2)
        await until_someone_waits(room)
        group.start_soon(apply, "wants one", 1)
        await until_someone_waits(room, 2)

        room.leave(first[0])
        assert not room.take(calls(1))  # there is room for one, and two were asked for before
        room.leave(first[1])
        await anyio.wait_all_tasks_blocked()
        assert admitted == ["wants two"]
        room.leave(first[2])

    assert admitted == ["wants two", "wants one"]


async def test_who_waits_in_vain_is_refused_and_holds_up_nobody() -> None:
    room = Room(limit=4)
    assert room.take(calls(3))
    admitted: list[str] = []

    async def wants_two() -> None:
        with pytest.raises(LaneFullError, match=r"in_process_waiting allows 4; no room came in 0.05 s"):
            await room.wait_for(calls(2), timeout_s=0.05)

    async def wants_one() -> None:
        await until_someone_waits(room)
        await room.wait_for(calls(1), timeout_s=5)
        admitted.append("wants one")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wants_two)
            group.start_soon(wants_one)

    assert admitted == ["wants one"]
    assert room.refused == 2


async def test_a_lane_that_is_full_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(limit=1)
    assert room.take(calls(1))
    for _ in range(3):
        with pytest.raises(LaneFullError):
            await room.wait_for(calls(1), timeout_s=0)

    assert [record.getMessage() for record in caplog.records] == [
        "in_process.lane_full waiting=1 in_process_waiting=1 refused=1"
    ]
    room._tell_again_at_s = anyio.current_time()
    with pytest.raises(LaneFullError):
        await room.wait_for(calls(1), timeout_s=0)
    assert caplog.records[-1].getMessage() == "in_process.lane_full waiting=1 in_process_waiting=1 refused=4"


async def test_more_than_there_ever_is_room_for_is_refused_at_once(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(limit=2)
    with pytest.raises(LaneFullError, match="they are 3, and in_process_waiting allows 2 in all: add fewer at once"):
        await room.wait_for(calls(3), timeout_s=5)
    assert "in_process.request_never_fits calls=3 in_process_waiting=2 tasks=['some']" in caplog.text


async def test_no_more_calls_wait_for_room_than_room_can_hold() -> None:
    room = Room(limit=2)
    assert room.take(calls(2))

    async with anyio.create_task_group() as group:
        group.start_soon(partial(room.wait_for, calls(2), timeout_s=5))
        await until_someone_waits(room)
        with pytest.raises(LaneFullError):
            await room.wait_for(calls(1), timeout_s=5)
        room.leave_all([*room.calls])


async def test_who_waits_when_the_service_shuts_down_is_told_so() -> None:
    room = Room(limit=2)
    assert room.take(calls(2))

    async def apply() -> None:
        with pytest.raises(DrainingError, match=r"2 call\(s\) not accepted \(some, some\): shuts down"):
            await room.wait_for(calls(2), timeout_s=5)

    async with anyio.create_task_group() as group:
        group.start_soon(apply)
        await until_someone_waits(room)
        room.refuse(draining)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_request_takes_its_room_first() -> None:
    """So that it is known to its commit that the calls are accepted, whoever cancels."""
    room = Room(limit=1)
    first, late = calls(1), calls(1)
    assert room.take(first)

    async def apply() -> None:
        async with CancelledAfterwards():
            await room.wait_for(late, timeout_s=5)

    applying = asyncio.create_task(apply())
    await until_someone_waits(room)
    applying.cancel()
    await asyncio.sleep(0)
    assert not applying.done()
    room.leave(first[0])
    await asyncio.wait([applying])

    assert applying.cancelled()
    assert list(room.calls) == late
