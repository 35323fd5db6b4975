"""The publisher: groups, bounds, deadlines, repeats, and what each caller is told."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

import anyio
import anyio.to_thread
import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from weighbridge.cancellation import CancelledAfterwards, to_the_end
from weighbridge.errors import EnqueueError, LaneFullError
from weighbridge.lanes.queue.availability import Availability
from weighbridge.lanes.queue.batch import Batch
from weighbridge.lanes.queue.failure import Failure
from weighbridge.lanes.queue.publisher import Publisher
from weighbridge.lanes.queue.waiter import AsyncWaiter, ThreadWaiter, Waiters
from weighbridge.lanes.queue.writer import Item, Writer

UNKNOWN = Failure(problem="the reply was lost", unknown=True, passing=True)
REFUSED = Failure(problem="connection refused", unknown=False, passing=True)
DENIED = Failure(problem="wrong password", unknown=False)
OWN = Failure(problem="cannot be encoded", unknown=False, own=True)
HALFWAY = Failure(problem="the server answered with an error", unknown=True, own=True)
WAITERS = Waiters(timeout_s=10)
SLOW = Failure(problem="no answer", unknown=False, passing=True, cause=TimeoutError())


class ScriptedWriter(Writer):
    """Keeps what it is asked to write, and answers as it is told: accepted, if it is told nothing."""

    group_limit: ClassVar[int] = 5
    idempotent: ClassVar[bool] = True

    def __init__(self, *answers: Failure | None, answer: Callable[[list[str]], Failure | None] | None = None) -> None:
        super().__init__(StubBroker())
        self.groups: list[list[str]] = []
        self.answers = list(answers)
        self.answer = answer
        self.reaching: threading.Event | None = None
        self.writing = threading.Event()
        self.may_write = threading.Event()
        self.may_write.set()
        self.closed_by: threading.Thread | None = None

    def reach(self, items: Sequence[Item]) -> Failure | None:
        if self.reaching is not None:
            self.reaching.set()
            assert self.may_write.wait(10)
        return None

    def write(self, items: Sequence[Item]) -> Failure | None:
        ids = [message.message_id for message, _ in items]
        self.groups.append(ids)
        self.writing.set()
        assert self.may_write.wait(10)
        if self.answer is not None:
            return self.answer(ids)
        return self.answers.pop(0) if self.answers else None

    def close(self) -> None:
        self.closed_by = threading.current_thread()


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def batch(*ids: str, waiter: Any = None) -> Batch:
    items: list[Item] = [
        (
            dramatiq.Message(
                queue_name="default", actor_name=f"task.{each}", args=(), kwargs={}, options={}, message_id=each
            ),
            None,
        )
        for each in ids
    ]
    return Batch(items, waiter=waiter or WAITERS.for_thread())


def outcome(one: Batch) -> Failure | None:
    assert isinstance(one.waiter, ThreadWaiter)
    assert one.waiter.wait_blocking(), "nobody was woken"
    return one.failure


@contextmanager
def publishing(
    writer: Writer,
    *,
    timeout_s: float = 10,
    waiting_limit: int = 100,
    clock: Callable[[], float] = time.monotonic,
    availability: Availability | None = None,
) -> Iterator[Publisher]:
    publisher = Publisher(
        writer=writer,
        timeout_s=timeout_s,
        waiting_limit=waiting_limit,
        availability=availability or Availability(broker="the broker"),
        clock=clock,
    )
    publisher.start()
    try:
        yield publisher
    finally:
        if isinstance(writer, ScriptedWriter):
            writer.may_write.set()
        assert publisher.stop(10)


@asynccontextmanager
async def publishing_beside_a_loop(writer: ScriptedWriter) -> AsyncIterator[Publisher]:
    manager = publishing(writer)
    publisher = manager.__enter__()
    try:
        yield publisher
    finally:
        await anyio.to_thread.run_sync(manager.__exit__, None, None, None)


@contextmanager
def busy(publisher: Publisher, writer: ScriptedWriter) -> Iterator[Batch]:
    """While the publisher writes a first batch, which gets no answer until this is left."""
    writer.may_write.clear()
    first = batch("first")
    publisher.submit(first)
    assert writer.writing.wait(10)
    yield first
    writer.may_write.set()


# -- groups --------------------------------------------------------------------------------------------------


def test_what_waits_when_the_publisher_becomes_free_is_written_together() -> None:
    writer = ScriptedWriter()
    with publishing(writer) as publisher:
        with busy(publisher, writer):
            later = [batch("a"), batch("b", "c"), batch("d")]
            for each in later:
                publisher.submit(each)
        assert [outcome(each) for each in later] == [None, None, None]
    assert writer.groups == [["first"], ["a", "b", "c", "d"]]


def test_a_group_is_bounded_and_keeps_the_order() -> None:
    writer = ScriptedWriter()
    with publishing(writer) as publisher:
        with busy(publisher, writer):
            later = [batch(str(number)) for number in range(12)]
            for each in later:
                publisher.submit(each)
        assert [outcome(each) for each in later] == [None] * 12
    assert [len(group) for group in writer.groups] == [1, 5, 5, 2]
    assert [each for group in writer.groups[1:] for each in group] == [str(number) for number in range(12)]


def test_a_request_beyond_the_bound_of_a_group_is_still_one_write() -> None:
    writer = ScriptedWriter()
    many = [str(number) for number in range(20)]
    with publishing(writer) as publisher:
        large = batch(*many)
        publisher.submit(large)
        assert outcome(large) is None
    assert writer.groups == [many]


def test_only_the_request_at_fault_is_refused() -> None:
    writer = ScriptedWriter(answer=lambda ids: OWN if "bad" in ids else None)
    with publishing(writer) as publisher:
        with busy(publisher, writer):
            good, bad, other = batch("good"), batch("bad", "its neighbour"), batch("other")
            for each in (good, bad, other):
                publisher.submit(each)
        assert outcome(good) is None
        assert outcome(bad) == OWN
        assert outcome(other) is None
    assert writer.groups[2:] == [["good"], ["bad", "its neighbour"], ["other"]]


def test_a_request_that_makes_the_server_fail_in_the_middle_of_a_group_is_the_only_one_refused() -> None:
    writer = ScriptedWriter(answer=lambda ids: HALFWAY if "bad" in ids else None)
    availability = Availability(broker="the broker")
    with publishing(writer, availability=availability) as publisher:
        with busy(publisher, writer):
            good, bad, other = batch("good"), batch("bad", "its neighbour"), batch("other")
            for each in (good, bad, other):
                publisher.submit(each)
        assert outcome(good) is None
        assert outcome(bad) == HALFWAY
        assert outcome(other) is None
    assert writer.groups[1:] == [
        ["good", "bad", "its neighbour", "other"],
        ["good"],
        ["bad", "its neighbour"],
        ["other"],
    ]
    assert availability.known() is True


def test_what_a_group_may_have_written_stays_unknown_when_its_requests_are_refused_one_by_one() -> None:
    writer = ScriptedWriter(None, HALFWAY, DENIED, DENIED)
    with publishing(writer) as publisher:
        with busy(publisher, writer):
            one, two = batch("a"), batch("b")
            publisher.submit(one)
            publisher.submit(two)
        for each in (one, two):
            failure = outcome(each)
            assert failure is not None
            assert failure.unknown
            assert failure.problem == "wrong password"


def test_a_group_that_may_be_written_is_not_taken_apart_if_its_calls_could_arrive_twice() -> None:
    class Plain(ScriptedWriter):
        idempotent = False

    writer = Plain(None, HALFWAY)
    with publishing(writer) as publisher:
        with busy(publisher, writer):
            one, two = batch("a"), batch("b")
            publisher.submit(one)
            publisher.submit(two)
        assert outcome(one) == HALFWAY
        assert outcome(two) == HALFWAY
    assert writer.groups == [["first"], ["a", "b"]]


# -- bounds and deadlines ------------------------------------------------------------------------------------


def test_calls_beyond_the_bound_are_refused_at_once() -> None:
    writer = ScriptedWriter()
    with publishing(writer, waiting_limit=3) as publisher, busy(publisher, writer):
        publisher.submit(batch("a", "b"))
        with pytest.raises(LaneFullError, match=r"3 calls wait .* 1 more would exceed publisher_waiting=3") as caught:
            publisher.submit(batch("c"))
        assert not caught.value.unknown
        assert caught.value.retry_after_s == 1.0
        with pytest.raises(LaneFullError) as caught:
            publisher.submit(batch("d", "e", "f", "g"))
        assert caught.value.retry_after_s is None  # they will never fit
        assert publisher.waiting == 3


def test_calls_count_as_waiting_until_they_are_settled() -> None:
    writer = ScriptedWriter()
    with publishing(writer) as publisher:
        with busy(publisher, writer) as first:
            second = batch("a", "b")
            publisher.submit(second)
            assert publisher.waiting == 3
            publisher.give_up(second)
            assert publisher.waiting == 1
        assert outcome(first) is None
        assert publisher.waiting == 0


def test_a_request_that_gave_up_while_it_waited_is_never_written() -> None:
    writer = ScriptedWriter()
    with publishing(writer) as publisher:
        with busy(publisher, writer):
            late, next_one = batch("late"), batch("next")
            publisher.submit(late)
            publisher.submit(next_one)
            failure = publisher.give_up(late)
        assert failure is not None
        assert not failure.unknown
        assert outcome(next_one) is None
    assert writer.groups == [["first"], ["next"]]


def test_a_request_that_gave_up_while_it_was_written_is_unknown_and_its_late_success_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = ScriptedWriter()
    with publishing(writer) as publisher, busy(publisher, writer) as first:
        failure = publisher.give_up(first)
        assert failure is not None
        assert failure.unknown
    records = [record for record in caplog.records if record.name == "weighbridge.queue"]
    assert [record.getMessage() for record in records] == ["queue.enqueued_unseen task=task.first call_id=first"]


def test_a_request_whose_time_has_passed_is_not_written_even_if_its_loop_had_no_time_to_give_up() -> None:
    writer, clock = ScriptedWriter(), Clock()
    with publishing(writer, timeout_s=1, clock=clock) as publisher:
        with busy(publisher, writer):
            late = batch("late")
            publisher.submit(late)
            clock.now_s += 1
        failure = outcome(late)
        assert failure is not None
        assert not failure.unknown
    assert writer.groups == [["first"]]


def test_a_request_that_gave_up_while_the_broker_was_being_reached_is_never_written() -> None:
    writer = ScriptedWriter()
    writer.reaching = threading.Event()
    with publishing(writer) as publisher:
        writer.may_write.clear()
        one = batch("a")
        publisher.submit(one)
        assert writer.reaching.wait(10)
        failure = publisher.give_up(one)
        assert failure is not None
        assert not failure.unknown
    assert writer.groups == []


# -- repeats -------------------------------------------------------------------------------------------------


def test_a_write_of_unknown_fate_is_repeated_within_its_time() -> None:
    writer = ScriptedWriter(UNKNOWN, REFUSED, None)
    with publishing(writer) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) is None
    assert writer.groups == [["a"]] * 3


def test_a_server_that_does_not_answer_before_the_write_is_asked_again() -> None:
    writer = ScriptedWriter(SLOW, None)
    with publishing(writer) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) is None


@pytest.mark.parametrize("failure", [REFUSED, DENIED])
def test_a_definite_refusal_is_answered_at_once(failure: Failure) -> None:
    writer = ScriptedWriter(failure)
    with publishing(writer) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) == failure
    assert writer.groups == [["a"]]


def test_a_refusal_after_an_unknown_stays_unknown() -> None:
    writer = ScriptedWriter(UNKNOWN, DENIED)
    with publishing(writer) as publisher:
        one = batch("a")
        publisher.submit(one)
        failure = outcome(one)
        assert failure is not None
        assert failure.unknown
        assert failure.problem == "wrong password"


def test_repeats_end_with_the_time_of_each_request() -> None:
    clock = Clock()

    def answer(ids: list[str]) -> Failure | None:
        if ids == ["first"]:
            return None
        clock.now_s += 0.9
        return UNKNOWN

    writer = ScriptedWriter(answer=answer)
    with publishing(writer, timeout_s=2, clock=clock) as publisher:
        with busy(publisher, writer):
            early = batch("early")
            publisher.submit(early)
            clock.now_s += 0.5
            later = batch("later")
            publisher.submit(later)
        for each in (early, later):
            failure = outcome(each)
            assert failure is not None
            assert failure.unknown
    assert writer.groups[1:] == [["early", "later"], ["early", "later"], ["later"]]


def test_a_write_that_could_arrive_twice_is_never_repeated() -> None:
    class Plain(ScriptedWriter):
        idempotent = False

    writer = Plain(UNKNOWN)
    with publishing(writer) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) == UNKNOWN
    assert writer.groups == [["a"]]


# -- the breaker ---------------------------------------------------------------------------------------------


class Probed(ScriptedWriter):
    """Fails writes with what it is given, and probes until it is told that the broker is back."""

    def __init__(self, *answers: Failure | None) -> None:
        super().__init__(*answers)
        self.back = threading.Event()
        self.probes: list[tuple[list[str], str]] = []

    def probe(self, queues: Collection[str]) -> Failure | None:
        self.probes.append((sorted(queues), threading.current_thread().name))
        return None if self.back.is_set() else DENIED


def test_what_waits_when_a_write_fails_is_refused_without_being_written() -> None:
    writer = Probed(DENIED)
    availability = Availability(broker="the broker")
    with publishing(writer, availability=availability) as publisher:
        with busy(publisher, writer) as first:
            waiting = [batch(str(number)) for number in range(12)]
            for each in waiting:
                publisher.submit(each)
        assert outcome(first) == DENIED
        for each in waiting:
            failure = outcome(each)
            assert failure is not None
            assert not failure.unknown
            assert failure.problem == "wrong password; it is not asked again until a probe succeeds"
        assert availability.known() is False
    assert writer.groups == [["first"]]


def test_the_publishers_thread_probes_the_queue_of_the_failed_write_until_the_broker_takes_it() -> None:
    writer = Probed(DENIED)
    availability = Availability(broker="the broker")
    with publishing(writer, availability=availability) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) == DENIED
        wait_until(lambda: len(writer.probes) == 2)
        assert availability.refuses
        writer.back.set()
        wait_until(lambda: not availability.refuses)
        two = batch("b")
        publisher.submit(two)
        assert outcome(two) is None
    assert {each for _, each in writer.probes} == {"weighbridge-publisher"}
    assert [queues for queues, _ in writer.probes] == [["default"]] * 3


def test_what_opens_it_elsewhere_lets_an_idle_publisher_probe() -> None:
    writer = Probed()
    writer.back.set()
    availability = Availability(broker="the broker")
    with publishing(writer, availability=availability) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) is None
        availability.failed(REFUSED)
        publisher.look_up()
        wait_until(lambda: not availability.refuses)
    assert len(writer.probes) == 1


def test_a_connection_that_cannot_be_dropped_changes_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Probed):
        def drop(self) -> None:
            raise RuntimeError("cannot be closed")

    writer = Stuck(DENIED)
    with publishing(writer) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) == DENIED
    assert "queue.publisher_failed" in caplog.text


def test_a_fault_in_a_probe_is_logged_and_ends_neither_the_thread_nor_the_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Probed):
        def probe(self, queues: Collection[str]) -> Failure | None:
            if not super().probe(queues) and len(self.probes) == 1:
                raise RuntimeError("a bug")
            return None

    writer = Broken(DENIED)
    writer.back.set()
    availability = Availability(broker="the broker")
    with publishing(writer, availability=availability) as publisher:
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) == DENIED
        wait_until(lambda: len(writer.probes) == 2 and not availability.refuses)
    assert "queue.publisher_failed" in caplog.text


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- waiting on loops ----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_coroutines_are_woken_wherever_they_run() -> None:
    waiter = WAITERS.here()
    async with publishing_beside_a_loop(ScriptedWriter()) as publisher:
        one = batch("a", waiter=waiter)
        publisher.submit(one)
        assert await waiter.wait()
        assert one.failure is None


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_wait_ends_with_its_time() -> None:
    waiters = Waiters(timeout_s=0.01)
    first, second = waiters.here(), waiters.here()
    assert not await first.wait()
    assert not await second.wait()
    assert not await waiters.here().wait()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_wake_and_a_cancellation_in_the_same_turn_of_the_loop_lose_neither() -> None:
    writer = ScriptedWriter()
    waiter = WAITERS.here()
    seen: list[object] = []

    async def request() -> None:
        async with CancelledAfterwards():
            seen.append(await to_the_end(waiter.wait))
        seen.append("not cancelled")

    async with publishing_beside_a_loop(writer) as publisher:
        writer.may_write.clear()
        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        publisher.submit(batch("a", waiter=waiter))
        task.cancel()  # the future is cancelled now, and the task learns it in the loop's next turn
        waiter.wake_together([waiter])
        writer.may_write.set()
        await asyncio.wait([task])

    assert seen == [True]
    assert task.cancelled()


def test_a_loop_that_ended_does_not_stop_the_publisher(caplog: pytest.LogCaptureFixture) -> None:
    async def waiter_of_a_loop_that_ends() -> AsyncWaiter:
        return WAITERS.here()

    gone = batch("gone", waiter=asyncio.run(waiter_of_a_loop_that_ends()))
    writer = ScriptedWriter()
    with publishing(writer) as publisher:
        publisher.submit(gone)
        one = batch("a")
        publisher.submit(one)
        assert outcome(one) is None
    assert "queue.enqueued_unseen task=task.gone" in caplog.text


def test_a_fault_of_the_publishers_own_strands_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def answer(ids: list[str]) -> Failure | None:
        if ids == ["a"]:
            raise RuntimeError("a bug")
        return None

    with publishing(ScriptedWriter(answer=answer)) as publisher:
        one, two = batch("a"), batch("b")
        publisher.submit(one)
        failure = outcome(one)
        assert failure is not None
        assert failure.unknown
        publisher.submit(two)
        assert outcome(two) is None
    assert "queue.publisher_failed" in caplog.text


# -- the end -------------------------------------------------------------------------------------------------


def test_a_stop_writes_what_waits() -> None:
    writer = ScriptedWriter()
    publisher = Publisher(
        writer=writer, timeout_s=10, waiting_limit=100, availability=Availability(broker="the broker")
    )
    publisher.start()
    with busy(publisher, writer):
        later = [batch(str(number)) for number in range(12)]
        for each in later:
            publisher.submit(each)
    assert publisher.stop(10)
    assert [outcome(each) for each in later] == [None] * 12


def test_after_a_stop_calls_are_refused() -> None:
    with publishing(ScriptedWriter()) as publisher:
        pass
    with pytest.raises(EnqueueError, match="not run in this process") as caught:
        publisher.submit(batch("a"))
    assert not caught.value.unknown


def test_during_a_stop_calls_are_refused() -> None:
    writer = ScriptedWriter()
    with publishing(writer) as publisher, busy(publisher, writer):
        assert not publisher.stop(0)
        with pytest.raises(EnqueueError, match="the queue lane is closed") as caught:
            publisher.submit(batch("a"))
        assert not caught.value.unknown


def test_a_stop_without_time_says_what_was_not_written(caplog: pytest.LogCaptureFixture) -> None:
    writer = ScriptedWriter()
    with publishing(writer) as publisher, busy(publisher, writer) as first:
        later = batch("a", "b")
        publisher.submit(later)
        assert not publisher.stop(0)
        being_written, never_written = outcome(first), outcome(later)
        assert being_written is not None
        assert being_written.unknown
        assert never_written is not None
        assert not never_written.unknown
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == "queue.not_written_at_close broker=StubBroker calls=3 batches=2 unknown=1"
    assert writer.groups == [["first"]]


def test_the_thread_closes_what_is_its_own() -> None:
    writer = ScriptedWriter()
    with publishing(writer):
        pass
    assert writer.closed_by is not None
    assert writer.closed_by.name == "weighbridge-publisher"
    assert writer.closed_by.daemon
