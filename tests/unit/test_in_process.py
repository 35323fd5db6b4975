from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from weighbridge.call import CallOptions
from weighbridge.errors import DrainingError, LaneFullError, NotOpenError
from weighbridge.lanes.in_process import InProcessLane
from weighbridge.lanes.starter import open_starter

from .in_process_calls import Clock, call, lane, spec_with, start

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_chain_runs_in_the_order_added_whatever_is_sync_and_whatever_async() -> None:
    ran: list[int] = []

    def here(number: int) -> None:
        ran.append(number)

    async def there(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        ran.append(number)

    async with lane() as opened:
        chain = start(opened, call(here, 1), call(there, 2), call(there, 3), call(here, 4))
        await chain.wait()

    assert ran == [1, 2, 3, 4]


async def test_calls_that_were_accepted_and_never_handed_over_are_named_when_the_lane_closes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def never() -> None: ...

    late = call(never)
    async with lane(drain_timeout_s=0.01) as opened:
        assert opened.reserve_now([late])
    assert "in_process.call_not_started task=never" in caplog.text

    chain = opened.start([late])  # a response that ends after the lane
    with anyio.fail_after(1):
        await chain.wait()
    opened.release([late])
    assert opened.reading().waiting == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_lane_whose_closing_is_cancelled_drains_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """In asyncio's own way, which no scope shields from: Ctrl-C, a server in a hurry."""
    ran: list[str] = []
    running, go_on = asyncio.Event(), asyncio.Event()

    async def runs() -> None:
        running.set()
        await go_on.wait()
        ran.append("runs")

    async def follows() -> None:
        ran.append("follows")

    async def serve() -> None:
        async with lane() as opened:
            start(opened, call(runs), call(follows))
            await running.wait()

    serving = asyncio.create_task(serve())
    await running.wait()
    for _ in range(2):
        await asyncio.sleep(0)
        serving.cancel()
    await asyncio.sleep(0)
    assert not serving.done()
    go_on.set()
    await asyncio.wait([serving])

    assert serving.cancelled()
    assert ran == ["runs", "follows"]
    assert "call_cancelled" not in caplog.text


def eager(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
    """What ``asyncio.eager_task_factory`` does from Python 3.12 on; on 3.11, a factory that nobody may ask."""
    if sys.version_info >= (3, 12):
        return asyncio.eager_task_factory(loop, coroutine, **options)
    coroutine.close()
    raise AssertionError("the loop's factory was asked")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_eager_task_factory_changes_nothing() -> None:
    ran: list[int] = []

    async def note(number: int) -> None:
        ran.append(number)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager)
    try:
        async with lane(waiting_limit=2_000) as opened:
            chain = start(opened, *(call(note, number) for number in range(1_000)))
            assert ran == []
            await chain.wait()
    finally:
        loop.set_task_factory(None)

    assert ran == list(range(1_000))


async def test_a_closed_lane_accepts_no_calls_of_a_request_that_outlives_it() -> None:
    def never() -> None: ...

    opened = lane()
    with pytest.raises(NotOpenError):
        opened.reserve_now([call(never)])
    async with opened:
        pass
    with pytest.raises(DrainingError):
        opened.reserve_now([call(never)])


async def test_chains_run_beside_each_other() -> None:
    both_run = anyio.Event()
    running = 0

    async def meet() -> None:
        nonlocal running
        running += 1
        if running == 2:
            both_run.set()
        await both_run.wait()

    with anyio.fail_after(5):
        async with lane() as opened:
            first, second = start(opened, call(meet)), start(opened, call(meet))
            await first.wait()
            await second.wait()


async def test_a_failure_is_logged_with_its_traceback_and_stops_no_other_call(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    def fails() -> None:
        raise LookupError("no such order")

    async def follows() -> None:
        ran.append("follows")

    async with lane() as opened:
        await start(opened, call(fails), call(follows)).wait()

    assert ran == ["follows"]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "in_process.call_failed task=fails call_id=id-of-fails attempt=1"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_no_more_sync_calls_run_than_the_lane_has_threads() -> None:
    lock = threading.Lock()
    running = most = 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    async with lane(threads=2) as opened:
        for _ in range(8):
            start(opened, call(work))
        assert opened.reading().waiting == 6
        assert opened.reading().threads_free == 0
        await opened.join()

    assert most == 2


async def test_more_async_calls_than_the_limit_wait() -> None:
    go = anyio.Event()

    async def wait() -> None:
        await go.wait()

    async with lane(running_limit=4) as opened:
        for _ in range(6):
            start(opened, call(wait))
        reading = opened.reading()
        go.set()
        await opened.join()

    assert (reading.running, reading.waiting) == (4, 2)


async def test_sync_calls_that_fill_the_threads_hold_up_no_async_call() -> None:
    release = threading.Event()
    ran = anyio.Event()

    async def light() -> None:
        ran.set()

    async with lane(threads=1) as opened:
        start(opened, call(release.wait))
        start(opened, call(release.wait))
        start(opened, call(light))
        with anyio.fail_after(5):
            await ran.wait()
        release.set()


async def test_a_call_sees_the_context_variables_of_its_add_task() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    seen: list[str] = []

    def read() -> None:
        seen.append(variable.get())

    async def read_async() -> None:
        seen.append(variable.get())
        variable.set("changed by a call")

    variable.set("as added")
    calls = [call(read), call(read_async), call(read)]
    variable.set("later")

    async with lane() as opened:
        await start(opened, *calls).wait()

    assert seen == ["as added", "as added", "as added"]


async def test_no_more_calls_wait_than_the_bound_allows() -> None:
    def some() -> None: ...

    async with lane(waiting_limit=2) as opened:
        assert opened.reserve_now([call(some), call(some)])
        with pytest.raises(
            LaneFullError, match="2 calls wait in process already, and in_process_waiting allows 2"
        ) as caught:
            await opened.reserve([call(some)])
        opened.release([call(some), call(some)])

    assert caught.value.tasks == ("some",)
    assert not caught.value.unknown


async def test_a_declared_retry_runs_again_and_an_undeclared_one_does_not() -> None:
    attempts: list[str] = []

    def declared() -> None:
        attempts.append("declared")
        raise OSError

    def undeclared() -> None:
        attempts.append("undeclared")
        raise OSError

    quick = {"min_backoff_s": 0.001, "max_backoff_s": 0.001}
    async with lane() as opened:
        await start(opened, call(declared, spec=spec_with(declared, retries=2, **quick))).wait()
        await start(opened, call(undeclared, spec=spec_with(undeclared, **quick))).wait()

    assert attempts == ["declared"] * 3 + ["undeclared"]


async def test_a_call_may_have_any_number_of_retries() -> None:
    attempts: list[int] = []

    async def stubborn() -> None:
        attempts.append(1)
        if len(attempts) <= 1_100:
            raise OSError

    async with lane() as opened:
        spec = spec_with(stubborn, retries=1_100, min_backoff_s=1e-6, max_backoff_s=1e-6)
        await start(opened, call(stubborn, spec=spec)).wait()

    assert len(attempts) == 1_101


async def test_a_call_that_waited_longer_than_it_may_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    clock = Clock()

    def remind() -> None:
        ran.append("remind")

    async with lane(clock=clock) as opened:
        late, early = call(remind, options=CallOptions(expires_s=5)), call(remind, options=CallOptions(expires_s=20))
        clock.now_s = 10
        await start(opened, late).wait()
        await start(opened, early).wait()

    assert ran == ["remind"]
    assert "in_process.call_expired task=remind" in caplog.text


async def test_an_async_call_over_its_time_limit_is_interrupted_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def endless() -> None:
        await anyio.sleep_forever()

    async with lane() as opened:
        await start(opened, call(endless, spec=spec_with(endless, time_limit_s=0.01))).wait()

    assert "in_process.call_failed task=endless" in caplog.text
    assert "TimeLimitError: task 'endless' ran longer than its time_limit_s=0.01" in caplog.text
    assert "in endless" in caplog.text  # where it was


async def test_closing_waits_for_what_waits_and_runs() -> None:
    ran: list[int] = []

    async def work(number: int) -> None:
        await anyio.sleep(0.01)
        ran.append(number)

    async with lane(running_limit=1) as opened:
        for number in range(5):
            start(opened, call(work, number))

    assert ran == [0, 1, 2, 3, 4]


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_what_does_not_finish_in_time_is_named_and_closing_is_not_held_up(
    caplog: pytest.LogCaptureFixture, released: threading.Event
) -> None:
    async def sleeps() -> None:
        await anyio.sleep_forever()

    def blocks() -> None:
        released.wait()

    async def after() -> None:
        raise AssertionError("must not run")

    with anyio.fail_after(5):
        async with lane(drain_timeout_s=0.05, threads=1) as opened:
            start(opened, call(sleeps), call(after))
            start(opened, call(blocks))
            start(opened, call(blocks))

    lines = sorted(record.getMessage() for record in caplog.records)
    assert lines == [
        "in_process.call_not_finished task=blocks call_id=id-of-blocks",
        "in_process.call_not_finished task=sleeps call_id=id-of-sleeps",
        "in_process.call_not_started task=after call_id=id-of-after reason=there is no broker",
        "in_process.call_not_started task=blocks call_id=id-of-blocks reason=there is no broker",
        (
            "in_process.drained succeeded=0 failed=0 expired=0 cancelled=0 handed_over=0 unknown=0 not_finished=2 "
            "not_started=2"
        ),
    ]


async def test_a_task_that_cancels_itself_is_reported_and_stops_no_other_call(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    async def cancels() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(1)
        raise anyio.get_cancelled_exc_class()

    async def follows() -> None:
        ran.append("follows")

    if anyio.get_cancelled_exc_class().__module__.startswith("trio"):
        with pytest.raises(TypeError):  # trio lets nobody make one, so there it cannot happen
            anyio.get_cancelled_exc_class()()
        return
    async with lane() as opened:
        await start(opened, call(cancels), call(follows)).wait()

    assert ran == ["follows"]
    assert "in_process.call_cancelled task=cancels" in caplog.text


async def test_a_task_that_exits_ends_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    def exits() -> None:
        raise SystemExit(3)

    async def exits_async() -> None:
        raise SystemExit(3)

    async def follows() -> None:
        ran.append("follows")

    async with lane() as opened:
        await start(opened, call(exits), call(exits_async), call(follows)).wait()

    assert ran == ["follows"]
    assert "in_process.call_failed task=exits call_id" in caplog.text
    assert "in_process.call_failed task=exits_async call_id" in caplog.text


def test_a_call_that_an_interrupt_ends_is_named_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    lanes: list[InProcessLane] = []

    async def interrupts() -> None:
        raise KeyboardInterrupt

    async def serve() -> None:
        async with lane() as opened:
            lanes.append(opened)
            await start(opened, call(interrupts)).wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(serve())

    assert lanes[0].counts().accepted == lanes[0].counts().failed == 1
    assert "in_process.call_failed task=interrupts" in caplog.text


async def test_a_call_that_is_cancelled_before_its_first_step_runs_no_longer_once_the_lane_is_closed() -> None:
    ran: list[str] = []

    async def begins() -> None:
        ran.append("begins")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group, lane(drain_timeout_s=0) as opened:
            start(opened, call(begins))
            group.start_soon(opened.join)

    counts = opened.counts()
    assert (counts.accepted, counts.running, counts.not_finished) == (1, 0, 1)
    assert ran == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_that_was_left_behind_ends_later_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.lanes.starter.LEAVE_BEHIND_AFTER_S", 0.0)
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    go, ended = anyio.Event(), anyio.Event()

    async def stubborn() -> None:
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()
        ended.set()

    async with lane(drain_timeout_s=0.01) as opened:
        start(opened, call(stubborn))
        await anyio.wait_all_tasks_blocked()
    running = opened.counts().running
    go.set()
    await ended.wait()
    await anyio.wait_all_tasks_blocked()
    gc.collect()

    assert running == 0
    assert problems == []
    assert opened.counts().not_finished == 1


async def test_closing_leaves_nobody_waiting_for_a_chain_that_did_not_start() -> None:
    async def sleeps() -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group, lane(drain_timeout_s=0.05, running_limit=1) as opened:
            start(opened, call(sleeps))
            group.start_soon(start(opened, call(sleeps), call(sleeps)).wait)
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_starter_that_is_cancelled_while_it_stops_has_stopped_and_is_cancelled() -> None:
    """By itself too, as the dispatcher has one for its look at the broker."""
    ended: list[str] = []
    starter = await open_starter()
    cleaning = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            cleaning.set()
            with anyio.CancelScope(shield=True), contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
            ended.append("stubborn")

    starter.start("stubborn", copy_context(), stubborn)
    await asyncio.sleep(0)
    stopping = asyncio.create_task(starter.stop())
    await cleaning.wait()
    stopping.cancel()
    await asyncio.wait([stopping])

    assert ended == ["stubborn"]
    assert stopping.cancelled()


async def test_a_call_that_is_given_room_counts_as_accepted_before_its_request_wakes() -> None:
    async def first() -> None: ...
    async def second() -> None: ...

    async with lane(waiting_limit=1, admission_timeout_s=5.0) as opened, anyio.create_task_group() as group:
        refused = [call(first)]
        assert opened.reserve_now(refused)
        group.start_soon(opened.reserve, [call(second)])
        await anyio.wait_all_tasks_blocked()

        opened.release(refused)

        counts = opened.counts()
        assert (counts.accepted, counts.waiting) == (1, 1)
