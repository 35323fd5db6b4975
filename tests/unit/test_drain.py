"""The drain: what waits and can be queued is handed over at once; the rest gets its time, and is named."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from weighbridge.call import Call
from weighbridge.cancellation import to_the_end
from weighbridge.errors import DrainingError
from weighbridge.lanes.in_process import HandedOver, InProcessLane

from .in_process_calls import NoQueue, call, lane, spec_with, start

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Queue:
    """A way to the queue: takes what is not of ``stays``, as long as ``answer`` lets it."""

    def __init__(self, *, stays: str = "", repeatable: bool = True) -> None:
        self._stays = stays
        self.repeatable = repeatable
        self.taken: list[Call] = []
        self.attempts: dict[str, int] = {}
        self.offers = 0
        self.answer: Callable[[Mapping[Call, int]], HandedOver] = self.take

    def obstacle(self, call: Call) -> str | None:
        return "shares memory" if call.name == self._stays else None

    async def hand_over(self, calls: Mapping[Call, int]) -> HandedOver:
        self.offers += 1
        await anyio.lowlevel.checkpoint()
        return self.answer(calls)

    def take(self, calls: Mapping[Call, int]) -> HandedOver:
        self.taken += calls
        self.attempts.update({each.name: attempts for each, attempts in calls.items()})
        return HandedOver(taken=[*calls])

    def taking(self, then: anyio.Event) -> Callable[[Mapping[Call, int]], HandedOver]:
        """Take, and set ``then``: the slot is not free before."""

        def take(calls: Mapping[Call, int]) -> HandedOver:
            then.set()
            return self.take(calls)

        return take

    def keep(self, calls: Mapping[Call, int]) -> HandedOver:
        return HandedOver(kept=[*calls])

    def lose_the_answer(self, calls: Mapping[Call, int]) -> HandedOver:
        return HandedOver(unknown=[*calls])


ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def crosses() -> None:
    ran.append("crosses")


async def stays() -> None:
    ran.append("stays")


def draining(queue: Queue | NoQueue, **changes: Any) -> InProcessLane:
    return lane(hand_over=queue, running_limit=1, **changes)


def events(caplog: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "event", "") == event]


async def blocked(opened: InProcessLane) -> anyio.Event:
    """Fill the one slot for async calls; what is returned lets it go."""
    go = anyio.Event()

    async def blocks() -> None:
        await go.wait()

    start(opened, call(blocks))
    await anyio.wait_all_tasks_blocked()
    return go


async def test_what_waits_and_can_be_queued_is_handed_over_though_what_runs_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    queue = Queue(stays="stays")
    first, second, third = call(crosses), call(stays), call(crosses)
    async with draining(queue) as opened:
        go = await blocked(opened)
        start(opened, first)
        start(opened, second, third)
        queue.answer = queue.taking(go)

    assert queue.taken == [first, third]
    assert ran == ["stays"]
    handed_over = events(caplog, "in_process.call_handed_over")
    assert [record.getMessage() for record in handed_over] == [
        "in_process.call_handed_over task=crosses call_id=id-of-crosses"
    ] * 2
    counts = opened.counts()
    assert (counts.accepted, counts.succeeded, counts.handed_over) == (4, 2, 2)


async def test_the_rest_of_a_chain_goes_on_in_its_order() -> None:
    queue = Queue(stays="stays")
    order: list[int] = []

    def numbered(number: int, *, can_cross: bool) -> Call:
        async def note() -> None:
            order.append(number)

        note.__name__ = "crosses" if can_cross else "stays"
        return call(note)

    async with draining(queue) as opened:
        go = await blocked(opened)
        start(opened, *(numbered(number, can_cross=number % 2 == 0) for number in range(6)))
        queue.answer = queue.taking(go)

    assert order == [1, 3, 5]
    assert len(queue.taken) == 3


async def test_what_the_queue_does_not_take_runs_here() -> None:
    queue = Queue()
    queue.answer = queue.keep
    async with draining(queue) as opened:
        go = await blocked(opened)
        start(opened, call(crosses), call(crosses))
        go.set()

    assert ran == ["crosses", "crosses"]
    assert opened.counts().succeeded == 3


async def test_it_is_offered_again_once_the_queue_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.lanes.in_process.drain.PAUSE_S", 0.01)
    queue = Queue()
    async with draining(queue) as opened:
        go = await blocked(opened)
        start(opened, call(crosses))

        def take_the_third(calls: Mapping[Call, int]) -> HandedOver:
            if queue.offers < 3:
                return queue.keep(calls)
            go.set()
            return queue.take(calls)

        queue.answer = take_the_third

    assert [each.name for each in queue.taken] == ["crosses"]
    assert ran == []


async def test_what_the_queue_may_have_is_never_run_here_and_is_handed_over_again_by_its_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("weighbridge.lanes.in_process.drain.PAUSE_S", 0.01)
    queue = Queue()
    async with draining(queue) as opened:
        go = await blocked(opened)
        start(opened, call(crosses))
        go.set()
        queue.answer = lambda calls: queue.take(calls) if queue.offers > 2 else queue.lose_the_answer(calls)

    assert [each.name for each in queue.taken] == ["crosses"]
    assert ran == []
    assert "perhaps" not in caplog.text
    assert opened.counts().handed_over == 1


@pytest.mark.parametrize("repeatable", [True, False])
async def test_what_nobody_knows_at_the_end_is_named_and_never_run_here(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, repeatable: bool
) -> None:
    monkeypatch.setattr("weighbridge.lanes.in_process.drain.PAUSE_S", 0.01)
    queue = Queue(repeatable=repeatable)
    async with draining(queue, drain_timeout_s=0.05) as opened:
        go = await blocked(opened)
        start(opened, call(crosses))
        go.set()
        # A refusal after that says nothing of the first.
        queue.answer = lambda calls: queue.keep(calls) if queue.offers > 1 else queue.lose_the_answer(calls)

    assert ran == []
    assert (queue.offers > 1) is repeatable
    (record,) = events(caplog, "in_process.call_perhaps_handed_over")
    assert record.levelno == logging.ERROR
    assert opened.counts().unknown == 1


async def test_nobody_waits_for_an_answer_that_a_broker_cannot_give_again() -> None:
    queue = Queue(repeatable=False)
    queue.answer = queue.lose_the_answer
    with anyio.fail_after(5):
        async with draining(queue, drain_timeout_s=60, threads=0) as opened:
            start(opened, call(threading.Event().wait))

    assert opened.counts().unknown == 1


async def test_a_call_that_the_queue_refuses_for_good_stays_and_is_not_offered_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.lanes.in_process.drain.PAUSE_S", 0.001)
    queue = Queue()
    async with draining(queue, drain_timeout_s=0.05) as opened:
        await blocked(opened)
        start(opened, call(crosses))
        queue.answer = lambda calls: HandedOver(refused=dict.fromkeys(calls, "its arguments do not cross"))

    assert queue.offers == 1
    assert "call_not_started task=crosses call_id=id-of-crosses reason=its arguments do not cross" in caplog.text


async def test_even_with_no_time_at_all_what_can_be_is_handed_over(caplog: pytest.LogCaptureFixture) -> None:
    queue = Queue(stays="stays")
    async with draining(queue, drain_timeout_s=0) as opened:
        await blocked(opened)
        start(opened, call(crosses), call(stays))

    assert [each.name for each in queue.taken] == ["crosses"]
    assert "call_not_finished task=blocks" in caplog.text
    assert "call_not_started task=stays call_id=id-of-stays reason=shares memory" in caplog.text


async def test_a_draining_lane_takes_only_what_it_can_hand_over() -> None:
    queue = Queue(stays="stays")
    late = call(crosses)
    async with anyio.create_task_group() as group, draining(queue) as opened:
        go = await blocked(opened)

        async def come_late() -> None:
            with anyio.fail_after(5):
                while opened._drain is None:
                    await anyio.lowlevel.checkpoint()
            with pytest.raises(DrainingError, match="the service shuts down"):
                opened.reserve_now([late, call(stays)])
            assert opened.reserve_now([late])
            chain = opened.start([late])
            with anyio.fail_after(5):
                await chain.wait()
            go.set()

        group.start_soon(come_late)

    assert queue.taken == [late]
    assert ran == []


async def test_whoever_waits_for_room_until_the_lane_is_closed_is_refused() -> None:
    queue = Queue()
    queue.answer = queue.keep
    refused: list[bool] = []
    async with (
        anyio.create_task_group() as group,
        draining(queue, waiting_limit=1, admission_timeout_s=5, drain_timeout_s=0.05) as opened,
    ):
        await blocked(opened)
        start(opened, call(crosses))

        async def come_late() -> None:
            with anyio.fail_after(5):
                while opened._drain is None:
                    await anyio.lowlevel.checkpoint()
            with pytest.raises(DrainingError):
                await opened.reserve([call(crosses)])
            refused.append(True)

        group.start_soon(come_late)

    assert refused == [True]
    counts = opened.counts()
    assert (counts.accepted, counts.waiting) == (2, 0)


async def test_the_drain_does_not_end_in_the_midst_of_a_commit() -> None:
    """Or calls would be in the queue whose request is then refused."""
    queue = Queue()
    refused, accepted = [call(crosses)], [call(crosses)]
    async with anyio.create_task_group() as group, draining(queue, drain_timeout_s=0) as opened:
        assert opened.reserve_now([*refused, *accepted])

        async def commit() -> None:
            with opened.undecided():
                begun.set()
                while opened._drain is None:
                    await anyio.lowlevel.checkpoint()
                await anyio.wait_all_tasks_blocked()
                opened.release(refused)

        begun = anyio.Event()
        group.start_soon(commit)
        await begun.wait()

    assert queue.taken == accepted


async def test_what_was_kept_is_offered_once_more_at_the_end() -> None:
    queue = Queue()
    queue.answer = lambda calls: queue.keep(calls) if queue.offers == 1 else queue.take(calls)
    async with draining(queue, drain_timeout_s=0.02) as opened:  # less than there is between two offers
        await blocked(opened)
        start(opened, call(crosses))

    assert [each.name for each in queue.taken] == ["crosses"]


async def test_calls_of_a_response_that_does_not_end_are_handed_over_when_the_time_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = Queue(stays="stays")
    crossing, staying = call(crosses), call(stays)
    async with draining(queue, drain_timeout_s=0.02) as opened:
        assert opened.reserve_now([crossing, staying])
    opened.start([crossing, staying])

    assert queue.taken == [crossing]
    assert "call_not_started task=stays" in caplog.text
    assert "call_not_started task=crosses" not in caplog.text


async def test_what_is_on_its_way_to_the_queue_is_not_run_by_its_response_that_ends_meanwhile() -> None:
    queue = Queue()
    handing_over, go_on = anyio.Event(), anyio.Event()
    take = queue.hand_over

    async def slow(calls: Mapping[Call, int]) -> HandedOver:
        handing_over.set()
        await go_on.wait()
        return await take(calls)

    queue.hand_over = slow  # type: ignore[method-assign]  # as slow as a broker
    started, given_up = call(crosses), call(crosses)

    async def respond(opened: InProcessLane) -> None:
        await handing_over.wait()
        chain = opened.start([started])
        opened.release([given_up])
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        await chain.wait()

    async with anyio.create_task_group() as group, draining(queue, drain_timeout_s=0) as opened:
        assert opened.reserve_now([started, given_up])
        group.start_soon(respond, opened)

    assert ran == []
    assert queue.taken == [started, given_up]
    assert opened.counts().accepted == opened.counts().handed_over == 2


async def test_a_call_that_waits_for_its_retry_is_handed_over_with_its_attempts() -> None:
    queue = Queue()
    failed = anyio.Event()

    async def fails() -> None:
        failed.set()
        raise OSError

    spec = spec_with(fails, retries=5, min_backoff_s=60, max_backoff_s=60)
    async with draining(queue) as opened:
        start(opened, call(fails, spec=spec))
        await failed.wait()
        await anyio.wait_all_tasks_blocked()

    assert queue.attempts == {"fails": 1}
    assert opened.counts().retried == 1


async def test_one_that_fails_during_the_drain_is_handed_over_instead_of_being_repeated() -> None:
    queue = Queue()
    go, may_fail = anyio.Event(), anyio.Event()

    async def fails() -> None:
        go.set()
        await may_fail.wait()
        raise OSError

    spec = spec_with(fails, retries=5, min_backoff_s=60, max_backoff_s=60)

    async def fail() -> None:
        await anyio.wait_all_tasks_blocked()
        may_fail.set()

    async with anyio.create_task_group() as group, draining(queue) as opened:
        start(opened, call(fails, spec=spec))
        await go.wait()
        group.start_soon(fail)

    assert queue.attempts == {"fails": 1}
    assert opened.counts().handed_over == 1


async def test_one_that_the_queue_does_not_take_is_repeated_no_sooner_for_it(caplog: pytest.LogCaptureFixture) -> None:
    queue = Queue()
    queue.answer = queue.keep
    failed = anyio.Event()

    async def fails() -> None:
        failed.set()
        raise OSError

    spec = spec_with(fails, retries=5, min_backoff_s=60, max_backoff_s=60)
    async with draining(queue, drain_timeout_s=0.05) as opened:
        start(opened, call(fails, spec=spec))
        await failed.wait()
        await anyio.wait_all_tasks_blocked()

    assert queue.offers == 2  # and the last one is that of the end
    assert opened.counts().retried == 1
    assert "attempts=1 reason=the queue did not take it" in caplog.text


async def test_one_that_must_stay_is_named_with_its_attempts(caplog: pytest.LogCaptureFixture) -> None:
    failed = anyio.Event()

    async def fails() -> None:
        failed.set()
        raise OSError

    spec = spec_with(fails, retries=5, min_backoff_s=60, max_backoff_s=60)
    async with draining(NoQueue(), drain_timeout_s=0.01) as opened:
        start(opened, call(fails, spec=spec))
        await failed.wait()
        await anyio.wait_all_tasks_blocked()

    assert "call_not_finished task=fails call_id=id-of-fails attempts=1 reason=there is no broker" in caplog.text
    assert opened.counts().not_finished == 1


async def test_nobody_is_lost_behind_a_call_that_waits_for_its_retry() -> None:
    """It may wait until the end; what was added after it need not."""

    async def fails() -> None:
        raise OSError

    retried = {"retries": 5, "min_backoff_s": 60.0, "max_backoff_s": 60.0}
    async with draining(NoQueue(), drain_timeout_s=0.1) as opened:
        start(opened, call(fails, spec=spec_with(fails, **retried)), call(stays))
        await anyio.wait_all_tasks_blocked()
        assert ran == []
        go = await blocked(opened)
        start(opened, call(fails, spec=spec_with(fails, **retried)), call(stays))
        go.set()

    assert ran == ["stays", "stays"]
    assert opened.counts().not_finished == 2


async def test_the_end_is_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    queue = Queue(stays="stays")
    async with draining(queue, drain_timeout_s=0) as opened:
        await blocked(opened)
        start(opened, call(crosses), call(stays))

    (record,) = events(caplog, "in_process.drained")
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "in_process.drained succeeded=0 failed=0 expired=0 cancelled=0 handed_over=1 unknown=0 not_finished=1 "
        "not_started=1"
    )


async def test_an_idle_lane_ends_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with draining(Queue()) as opened:
        await start(opened, call(crosses)).wait()

    assert caplog.text == ""


async def test_nobody_waits_for_calls_that_were_handed_over() -> None:
    queue = Queue()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group, draining(queue, drain_timeout_s=0.01) as opened:
            await blocked(opened)
            group.start_soon(start(opened, call(crosses), call(crosses)).wait)
            await anyio.lowlevel.checkpoint()


async def test_many_calls_go_in_groups_and_none_twice() -> None:
    queue = Queue()
    calls = [call(crosses) for _ in range(1_050)]
    async with draining(queue, waiting_limit=2_000, drain_timeout_s=0.01) as opened:
        await blocked(opened)
        for each in calls:
            start(opened, each)

    assert queue.taken == calls
    assert queue.offers == 11


async def test_what_runs_when_the_opener_is_cancelled_gets_its_time_too() -> None:
    go = anyio.Event()
    queue = Queue(stays="runs")
    queue.answer = queue.taking(go)
    ended: list[str] = []

    async def runs() -> None:
        await go.wait()
        await anyio.lowlevel.checkpoint()
        ended.append("runs")

    with anyio.CancelScope() as scope:
        async with draining(queue) as opened:
            start(opened, call(runs))
            start(opened, call(crosses))
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.sleep_forever()

    assert ended == ["runs"]
    assert (len(queue.taken), ran) == (1, [])
    assert opened.counts().succeeded == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_drain_that_is_cancelled_hands_over_all_the_same() -> None:
    """In asyncio's own way, which no scope shields from: Ctrl-C, a server in a hurry."""
    queue = Queue()
    handing_over, go_on = asyncio.Event(), asyncio.Event()
    take = queue.hand_over

    async def slow(calls: Mapping[Call, int]) -> HandedOver:
        handing_over.set()
        await to_the_end(go_on.wait)
        return await take(calls)

    queue.hand_over = slow  # type: ignore[method-assign]  # as slow as a broker

    async def serve() -> None:
        async with draining(queue) as opened:
            go = await blocked(opened)
            start(opened, call(crosses))
            slots.append(go)

    slots: list[anyio.Event] = []
    serving = asyncio.create_task(serve())
    await handing_over.wait()
    serving.cancel()
    await asyncio.sleep(0)
    assert not serving.done()
    go_on.set()
    slots[0].set()
    await asyncio.wait([serving])

    assert serving.cancelled()
    assert len(queue.taken) == 1
    assert ran == []


async def test_every_accepted_call_is_accounted_for(release: threading.Event) -> None:
    queue = Queue(stays="stays")

    async def fails() -> None:
        raise OSError

    async with draining(queue, threads=1, drain_timeout_s=0.05) as opened:
        start(opened, call(stays), call(fails))
        await opened.join()
        go = await blocked(opened)
        start(opened, call(release.wait))
        start(opened, call(crosses), call(stays))
        start(opened, call(fails), call(stays))
        released = [call(stays)]
        assert opened.reserve_now(released)
        opened.release(released)
        before = opened.counts()
        assert before.accepted == before.waiting + before.running + before.succeeded + before.failed
        go.set()

    counts = opened.counts()
    ended = counts.succeeded + counts.failed + counts.handed_over + counts.not_finished + counts.not_started
    assert counts.accepted == ended == 8
    assert (counts.waiting, counts.running) == (0, 0)
