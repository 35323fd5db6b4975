"""Cancellations that are put off, and get through where they should."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from weighbridge.cancellation import CancelledAfterwards, to_the_end

pytestmark = pytest.mark.anyio

BOTH_LOOPS = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@BOTH_LOOPS
async def test_a_cancelled_scope_is_left_when_the_wait_has_ended() -> None:
    end = anyio.Event()
    seen: list[str] = []

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
async def test_a_cancellation_of_asyncios_own_gets_through_at_the_end_of_the_block(times: int) -> None:
    end = anyio.Event()
    seen: list[str] = []

    async def wait() -> None:
        async with CancelledAfterwards():
            await to_the_end(end.wait)
            seen.append("ended")
        seen.append("not cancelled")

    task = asyncio.create_task(wait())
    for _ in range(times):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    end.set()
    await asyncio.wait([task])

    assert seen == ["ended"]
    assert task.cancelled()


@ON_ASYNCIO
async def test_it_gets_through_in_the_place_of_an_error_of_the_block() -> None:
    end = anyio.Event()

    async def wait() -> None:
        async with CancelledAfterwards():
            await to_the_end(end.wait)
            raise LookupError

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    end.set()
    await asyncio.wait([task])

    assert task.cancelled()


@ON_ASYNCIO
async def test_one_that_is_due_comes_out_before_the_block_begins() -> None:
    seen: list[str] = []

    async def wait() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # as Ctrl-C does while code runs that awaits nothing
        async with CancelledAfterwards():
            seen.append("begun")

    task = asyncio.create_task(wait())
    await asyncio.wait([task])

    assert seen == []
    assert task.cancelled()


@ON_ASYNCIO
async def test_a_time_out_of_asyncio_is_still_one_and_nothing_is_cancelled_after_it() -> None:
    end = anyio.Event()
    asyncio.get_running_loop().call_later(0.05, end.set)

    async def wait() -> None:
        async with asyncio.timeout(0.01), CancelledAfterwards():
            await to_the_end(end.wait)

    with pytest.raises(TimeoutError):
        await wait()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@ON_ASYNCIO
async def test_a_cancellation_that_was_answered_before_is_not_answered_twice() -> None:
    seen = []

    async def clean_up() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            async with CancelledAfterwards():
                await to_the_end(anyio.lowlevel.checkpoint)
            seen.append("cleaned up")
            raise

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert seen == ["cleaned up"]
    assert task.cancelled()


@BOTH_LOOPS
async def test_an_error_that_took_the_place_of_a_scopes_cancellation_stays_that_error() -> None:
    seen: list[str] = []

    async def clean_up() -> None:
        try:
            await anyio.sleep(10)
        finally:
            try:
                raise LookupError
            finally:
                async with CancelledAfterwards():
                    await to_the_end(anyio.lowlevel.checkpoint)
                    seen.append("closed")

    with anyio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(LookupError):
            await clean_up()

    assert seen == ["closed"]


@BOTH_LOOPS
async def test_without_a_cancellation_the_block_is_only_a_block() -> None:
    async def fail() -> None:
        async with CancelledAfterwards():
            await to_the_end(anyio.lowlevel.checkpoint)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
