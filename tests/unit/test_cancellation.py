"""Cancellations that are put off, and get through where they should."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from weighbridge.cancellation import cancellations, obey, to_the_end

pytestmark = pytest.mark.anyio

BOTH_LOOPS = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@BOTH_LOOPS
async def test_a_cancelled_scope_is_left_when_the_wait_has_ended() -> None:
    end, seen = anyio.Event(), []

    async def wait() -> None:
        with anyio.move_on_after(0.01):
            await to_the_end(end.wait)
            seen.append("ended")
            await anyio.lowlevel.checkpoint()
            seen.append("not cancelled")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0.05)
        assert seen == []
        end.set()

    assert seen == ["ended"]


@ON_ASYNCIO
@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancellation_of_asyncios_own_gets_through_when_it_is_obeyed(times: int) -> None:
    end = anyio.Event()
    seen: list[object] = []

    async def wait() -> None:
        since = cancellations()
        await to_the_end(end.wait)
        seen.append(cancellations() - since)
        obey(since=since)
        seen.append("not cancelled")

    task = asyncio.create_task(wait())
    for _ in range(times):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    end.set()
    await asyncio.wait([task])

    assert seen == [times]
    assert task.cancelled()


@ON_ASYNCIO
async def test_a_time_out_of_asyncio_is_still_one_and_nothing_is_cancelled_after_it() -> None:
    end = anyio.Event()
    asyncio.get_running_loop().call_later(0.05, end.set)

    async def wait() -> None:
        async with asyncio.timeout(0.01):
            since = cancellations()
            await to_the_end(end.wait)
            obey(since=since)

    with pytest.raises(TimeoutError):
        await wait()
    await asyncio.sleep(0)
    assert cancellations() == 0


@ON_ASYNCIO
async def test_a_cancellation_from_before_is_not_obeyed_twice() -> None:
    seen = []

    async def clean_up() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            since = cancellations()
            await to_the_end(anyio.lowlevel.checkpoint)
            obey(since=since)
            seen.append("cleaned up")
            raise

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert seen == ["cleaned up"]
    assert task.cancelled()


@BOTH_LOOPS
async def test_without_a_cancellation_nothing_is_raised() -> None:
    since = cancellations()
    await to_the_end(anyio.lowlevel.checkpoint)
    obey(since=since)
