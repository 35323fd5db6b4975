"""One attempt of one call: its time limit, its failure, and who is told."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from weakref import ref

import anyio
import anyio.lowlevel
import pytest

from weighbridge.errors import TimeLimitError
from weighbridge.lanes.in_process import CallFailure
from weighbridge.run import CurrentCall, current_call

from .in_process_calls import call, lane, spec_with, start

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def fails() -> None:
    raise LookupError("no such order")


async def test_the_hook_is_told_of_the_error_and_the_call_once() -> None:
    told: list[tuple[BaseException, CurrentCall, str]] = []

    def on_error(error: BaseException, failed: CurrentCall) -> None:
        told.append((error, failed, current_call().id))

    spec = spec_with(fails, retries=2, min_backoff_s=0.001, max_backoff_s=0.001)
    async with lane(on_error=on_error) as opened:
        await start(opened, call(fails, spec=spec)).wait()

    ((error, failed, current),) = told
    assert isinstance(error, LookupError)
    assert error.__traceback__ is not None
    assert (failed.id, failed.task, failed.attempt) == ("id-of-fails", "fails", 3)
    assert current == failed.id


async def test_an_async_hook_is_awaited() -> None:
    told: list[str] = []

    async def on_error(error: BaseException, failed: CurrentCall) -> None:
        await anyio.lowlevel.checkpoint()
        told.append(failed.task)

    async with lane(on_error=on_error) as opened:
        await start(opened, call(fails)).wait()

    assert told == ["fails"]


async def test_a_hook_that_fails_is_logged_and_takes_nothing_along(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    def on_error(error: BaseException, failed: CurrentCall) -> None:
        raise RuntimeError("the hook's own")

    async def follows() -> None:
        ran.append("follows")

    async with lane(on_error=on_error) as opened:
        await start(opened, call(fails), call(follows)).wait()

    assert ran == ["follows"]
    assert "in_process.on_error_failed task=fails call_id=id-of-fails" in caplog.text
    assert "the hook's own" in caplog.text


@pytest.mark.parametrize("its_own", [SystemExit(3), BaseExceptionGroup("of a task group", [SystemExit(3)])])
async def test_a_hook_that_exits_is_logged_and_takes_nothing_along(
    its_own: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def exits(error: BaseException, failed: CurrentCall) -> None:
        raise its_own

    async with lane(on_error=exits) as opened:
        await start(opened, call(fails), call(fails)).wait()

    assert opened.counts().failed == 2
    assert caplog.text.count("in_process.on_error_failed task=fails") == 2


async def test_a_call_whose_hook_hangs_has_failed_and_is_not_named_once_more(caplog: pytest.LogCaptureFixture) -> None:
    told = anyio.Event()

    async def hangs(error: BaseException, failed: CurrentCall) -> None:
        told.set()
        await anyio.sleep_forever()

    async with lane(on_error=hangs, drain_timeout_s=0.01) as opened:
        start(opened, call(fails))
        await told.wait()
        meanwhile = opened.counts()

    assert (meanwhile.running, meanwhile.failed) == (0, 1)
    counts = opened.counts()
    assert (counts.failed, counts.not_finished) == (1, 0)
    assert "call_not_finished" not in caplog.text


async def test_a_call_that_fails_at_being_cancelled_did_not_finish_and_is_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooked: list[CurrentCall] = []
    waiting = anyio.Event()

    async def cleans_up_badly() -> None:
        try:
            waiting.set()
            await anyio.sleep_forever()
        finally:
            raise OSError

    def hook(error: BaseException, failed: CurrentCall) -> None:
        hooked.append(failed)

    spec = spec_with(cleans_up_badly, retries=1)
    async with lane(on_error=hook, drain_timeout_s=0.01) as opened:
        start(opened, call(cleans_up_badly, spec=spec))
        await waiting.wait()

    counts = opened.counts()
    assert (counts.accepted, counts.not_finished, counts.failed, counts.retried) == (1, 1, 0, 0)
    assert hooked == []
    assert "OSError" in caplog.text


async def test_failures_are_kept_without_their_texts() -> None:
    async with lane() as opened:
        for _ in range(105):
            await start(opened, call(fails)).wait()

    failures = opened.failures()
    assert len(failures) == 100
    last = failures[-1]
    assert isinstance(last, CallFailure)
    assert (last.task, last.call_id, last.attempt, last.error) == ("fails", "id-of-fails", 1, "LookupError")
    assert last.failed_at.tzinfo is not None
    assert "no such order" not in repr(failures)
    assert opened.counts().failed == 105


async def test_a_time_limit_is_an_error_of_its_own_and_says_where_the_task_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[BaseException] = []

    async def waits_in_vain() -> None:
        await anyio.sleep_forever()

    async def endless() -> None:
        await waits_in_vain()

    async with lane(on_error=lambda error, _: told.append(error)) as opened:
        await start(opened, call(endless, spec=spec_with(endless, time_limit_s=0.01))).wait()

    (error,) = told
    assert isinstance(error, TimeLimitError)
    assert isinstance(error, TimeoutError)
    assert (error.task, error.limit_s) == ("endless", 0.01)
    assert "in waits_in_vain" in caplog.text


async def test_a_timeout_of_the_tasks_own_stays_what_it_is() -> None:
    told: list[BaseException] = []

    async def times_out() -> None:
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    async with lane(on_error=lambda error, _: told.append(error)) as opened:
        await start(opened, call(times_out, spec=spec_with(times_out, time_limit_s=5))).wait()

    assert [type(error) for error in told] == [TimeoutError]


async def test_a_sync_call_over_its_time_limit_is_told_while_it_goes_on(
    caplog: pytest.LogCaptureFixture, release: threading.Event
) -> None:
    """A thread cannot be interrupted; but nobody has to guess why the pool is busy."""

    def blocks() -> None:
        release.wait(10)

    async with lane() as opened:
        chain = start(opened, call(blocks, spec=spec_with(blocks, time_limit_s=0.01)))
        with anyio.fail_after(5):
            while "in_process.call_over_time_limit" not in caplog.text:
                await anyio.lowlevel.checkpoint()
        release.set()
        await chain.wait()

    assert "call_over_time_limit task=blocks call_id=id-of-blocks time_limit_s=0.01" in caplog.text
    assert opened.counts().succeeded == 1


async def test_so_is_an_async_call_that_never_waits(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can interrupt it; the loop guard says where it was."""

    async def computes() -> None:
        until_s = time.perf_counter() + 0.02
        while time.perf_counter() < until_s:
            pass

    async with lane() as opened:
        await start(opened, call(computes, spec=spec_with(computes, time_limit_s=0.01))).wait()

    assert "call_over_time_limit task=computes call_id=id-of-computes time_limit_s=0.01" in caplog.text
    assert opened.counts().succeeded == 1


async def test_one_within_it_is_not(caplog: pytest.LogCaptureFixture) -> None:
    def quick() -> None: ...

    async with lane() as opened:
        await start(opened, call(quick, spec=spec_with(quick, time_limit_s=0.05))).wait()
        await anyio.sleep(0.06)

    assert caplog.text == ""


async def test_a_call_that_waits_for_its_retry_holds_no_thread() -> None:
    ran: list[str] = []

    def fails_once() -> None:
        ran.append("fails once")
        raise OSError

    def other() -> None:
        ran.append("other")

    spec = spec_with(fails_once, retries=1, min_backoff_s=60, max_backoff_s=60)
    async with lane(threads=1, drain_timeout_s=0) as opened:
        start(opened, call(fails_once, spec=spec))
        with anyio.fail_after(5):
            await start(opened, call(other)).wait()
        reading = opened.reading()

    assert ran == ["fails once", "other"]
    assert (reading.running, reading.waiting, reading.threads_free) == (0, 1, 1)


async def test_each_attempt_has_the_context_variables_of_add_task() -> None:
    attempt_before: ContextVar[int] = ContextVar("attempt_before", default=0)
    seen: list[int] = []

    async def leaves_a_mark() -> None:
        seen.append(attempt_before.get())
        attempt_before.set(current_call().attempt)
        raise OSError

    spec = spec_with(leaves_a_mark, retries=1, min_backoff_s=0.001)
    async with lane() as opened:
        await start(opened, call(leaves_a_mark, spec=spec)).wait()

    assert seen == [0, 0]


async def test_the_rest_of_a_chain_waits_for_the_retry() -> None:
    ran: list[str] = []

    def fails_twice() -> None:
        ran.append("attempt")
        if len(ran) < 3:
            raise OSError

    def follows() -> None:
        ran.append("follows")

    spec = spec_with(fails_twice, retries=2, min_backoff_s=0.005, max_backoff_s=0.005)
    async with lane() as opened:
        await start(opened, call(fails_twice, spec=spec), call(follows)).wait()

    assert ran == ["attempt", "attempt", "attempt", "follows"]


async def test_each_outcome_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def succeeds() -> None: ...

    spec = spec_with(fails, retries=1, min_backoff_s=0.001, max_backoff_s=0.001)
    async with lane() as opened:
        await start(opened, call(succeeds), call(fails, spec=spec), call(succeeds)).wait()
        counts = opened.counts()

    assert (counts.accepted, counts.succeeded, counts.failed, counts.retried) == (3, 2, 1, 1)


async def test_a_call_that_is_cancelled_as_the_lane_closes_leaves_its_arguments_to_nobody() -> None:
    class Argument: ...

    async def waits(_: Argument) -> None:
        await anyio.sleep_forever()

    argument = Argument()
    alive = ref(argument)
    gc.collect()
    gc.disable()
    try:
        async with lane(drain_timeout_s=0.01) as opened:
            start(opened, call(waits, argument))
            del argument
            await anyio.wait_all_tasks_blocked()
        del opened
        await anyio.wait_all_tasks_blocked()
        assert alive() is None
    finally:
        gc.enable()
