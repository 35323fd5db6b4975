"""A policy is swapped while the service runs: by assignment, and by its file."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.fundamentals.broker import MemoryBroker
from tests.policy_file import QUEUED, STAYS, revision_of_text

from weighbridge import BackgroundTasks, Decision, Dispatcher, Facts, Lane, opening, task
from weighbridge.errors import BrokerNotConfiguredError, SettingsError
from weighbridge.policy_holder import POLICY_REPLACED
from weighbridge.policy_watch import POLICY_REFUSED, WatchedFile

pytestmark = pytest.mark.anyio


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="weighbridge"):
        yield caplog


async def write(file: Path, text: str) -> None:
    await anyio.Path(file).write_text(text)


def told(log: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    return [record for record in log.records if record.__dict__.get("event") == event]


# -- by assignment ------------------------------------------------------------------------------------------


def test_the_next_ticket_tells_the_revision_of_the_new_policy(events: pytest.LogCaptureFixture) -> None:
    @task(weight=1)
    def light() -> None: ...

    dispatcher = Dispatcher(broker=MemoryBroker(), wait_in_process=True)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def add(tasks: BackgroundTasks) -> tuple[str, str]:
        ticket = tasks.add_task(light)
        return ticket.lane, ticket.revision

    @app.put("/policy/{name}")
    async def swap(name: str) -> str:
        dispatcher.policy = name
        return getattr(dispatcher.policy, "revision", "")

    with TestClient(app) as client:
        (before, first) = client.post("/").json()
        revision = client.put("/policy/all-queued").json()
        (after, second) = client.post("/").json()

    assert (before, after) == ("in_process", "queue")
    assert first != second == revision
    (replaced,) = told(events, POLICY_REPLACED)
    assert (replaced.__dict__["policy"], replaced.__dict__["revision"]) == ("all-queued (shipped)", second)
    assert (replaced.__dict__["replaced"], replaced.__dict__["replaced_revision"]) == ("by-weight (shipped)", first)


def test_a_call_that_a_constraint_or_an_option_decides_has_no_revision() -> None:
    @task(shares_memory=True)
    def warm() -> None: ...

    @task(weight=1)
    def light() -> None: ...

    dispatcher = Dispatcher(broker=MemoryBroker(), wait_in_process=True)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def add(tasks: BackgroundTasks) -> list[str]:
        tickets = [tasks.add_task(warm), tasks.options(lane="queue").add_task(light)]
        return [ticket.revision for ticket in tickets]

    with TestClient(app) as client:
        assert client.post("/").json() == ["", ""]


def test_a_policy_in_code_that_fails_costs_no_request(events: pytest.LogCaptureFixture) -> None:
    class Fragile:
        default_lane = Lane.IN_PROCESS
        broken = False

        def decide(self, facts: Facts, /) -> Decision:
            if self.broken:
                raise KeyError("threshold")
            return Decision(Lane.QUEUE, "it works", "works")

    @task(weight=1)
    def light() -> None: ...

    policy = Fragile()
    dispatcher = Dispatcher(broker=MemoryBroker(), policy=policy, wait_in_process=True)
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def add(tasks: BackgroundTasks) -> tuple[str, str]:
        ticket = tasks.add_task(light)
        return ticket.lane, ticket.reason

    with TestClient(app) as client:
        before = client.post("/").json()
        policy.broken = True
        after = [client.post("/").json() for _ in range(3)]

    assert before == ["queue", "it works"]
    assert [lane for lane, _ in after] == ["in_process"] * 3
    assert after[0][1].endswith("Fragile failed, so its default lane holds")
    assert list(dispatcher.policy_failures.values()) == [3]
    assert len(told(events, "chooser.policy_failed")) == 1


def test_what_a_policy_in_code_has_changed_since_makes_no_other_revision_of_it(
    events: pytest.LogCaptureFixture,
) -> None:
    class Counting:
        asked = 0

        def decide(self, facts: Facts, /) -> Decision:
            self.asked += 1
            return Decision(Lane.IN_PROCESS, "it counts", "counts")

    @task(weight=1)
    def light() -> None: ...

    dispatcher = Dispatcher(policy=Counting())
    dispatcher.policy = "all-queued"
    dispatcher.policy = Counting()
    revision = dispatcher.explain(light).revision
    dispatcher.policy = "all-queued"
    _, appointed, replaced = told(events, POLICY_REPLACED)
    assert appointed.__dict__["revision"] == replaced.__dict__["replaced_revision"]
    assert revision


async def test_a_policy_that_is_assigned_while_the_dispatcher_opens_has_to_suit_the_tasks_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @task(weight=1)
    def light() -> None: ...

    dispatcher = Dispatcher()
    original = opening.open_in_process

    async def assigned_meanwhile(*args: Any, **kwargs: Any) -> Any:
        with pytest.raises(BrokerNotConfiguredError, match="could be queued, and no broker"):
            dispatcher.policy = "all-queued"
        dispatcher.policy = "all-in-process"
        return await original(*args, **kwargs)

    monkeypatch.setattr("weighbridge.dispatcher.open_in_process", assigned_meanwhile)
    async with dispatcher:
        assert dispatcher.explain(light).reason.startswith("policy all-in-process")
    dispatcher.policy = "all-queued"  # closed, it may have any
    with pytest.raises(BrokerNotConfiguredError):
        await dispatcher.__aenter__()
    dispatcher.policy = "all-queued"


# -- by its file --------------------------------------------------------------------------------------------


async def changed(dispatcher: Dispatcher, *, from_revision: str) -> None:
    with anyio.fail_after(20):
        while getattr(dispatcher.policy, "revision", "") == from_revision:  # noqa: ASYNC110  # there is no event for it
            await anyio.sleep(0.01)


async def seen(events: pytest.LogCaptureFixture, event: str, *, times: int) -> None:
    with anyio.fail_after(20):
        while len(told(events, event)) < times:  # noqa: ASYNC110  # as above
            await anyio.sleep(0.01)


async def test_a_changed_file_takes_over_while_the_service_runs(
    policy_file: Path, events: pytest.LogCaptureFixture
) -> None:
    @task(weight=1)
    def light() -> None: ...

    async with Dispatcher(broker=MemoryBroker(), policy=str(policy_file), policy_watch_s=0.02) as dispatcher:
        first = revision_of_text(STAYS)
        await anyio.sleep(0.1)
        await write(policy_file, QUEUED)
        await changed(dispatcher, from_revision=first)

        decision = dispatcher.explain(light)

    assert decision.lane is Lane.QUEUE
    assert decision.revision == revision_of_text(QUEUED) != first
    assert len(told(events, POLICY_REPLACED)) == 1


async def test_a_bad_file_keeps_the_last_good_one_and_is_told_once(
    policy_file: Path, events: pytest.LogCaptureFixture
) -> None:
    @task(weight=1)
    def light() -> None: ...

    async with Dispatcher(broker=MemoryBroker(), policy=str(policy_file), policy_watch_s=0.02) as dispatcher:
        before = dispatcher.policy
        await anyio.sleep(0.1)
        await write(policy_file, QUEUED.replace("queue", "qeue"))
        await seen(events, POLICY_REFUSED, times=1)
        await anyio.sleep(0.2)

        assert dispatcher.policy is before
        (refused,) = told(events, POLICY_REFUSED)
        assert refused.levelno == logging.ERROR
        assert 'did you mean "queue"?' in refused.__dict__["problem"]

        await anyio.Path(policy_file).unlink()
        await seen(events, POLICY_REFUSED, times=2)
        assert dispatcher.policy is before

        await write(policy_file, QUEUED)
        await changed(dispatcher, from_revision=getattr(before, "revision", ""))
        assert dispatcher.explain(light).lane is Lane.QUEUE


async def test_a_file_that_could_queue_is_refused_where_there_is_no_broker(
    policy_file: Path, events: pytest.LogCaptureFixture
) -> None:
    @task(weight=1)
    def light() -> None: ...

    async with Dispatcher(policy=str(policy_file), policy_watch_s=0.02) as dispatcher:
        await anyio.sleep(0.1)
        await write(policy_file, QUEUED)
        await seen(events, POLICY_REFUSED, times=1)

        assert dispatcher.explain(light).lane is Lane.IN_PROCESS
        assert "could be queued, and no broker" in told(events, POLICY_REFUSED)[0].__dict__["problem"]


async def test_what_is_appointed_by_hand_is_followed_instead(policy_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    await write(other, STAYS)
    async with Dispatcher(broker=MemoryBroker(), policy=str(policy_file), policy_watch_s=0.02) as dispatcher:
        await anyio.to_thread.run_sync(setattr, dispatcher, "policy", other)
        await anyio.sleep(0.1)
        await write(policy_file, QUEUED)
        await anyio.sleep(0.2)
        assert dispatcher.policy.source == str(other)  # type: ignore[attr-defined]  # it is one of rules
        await write(other, QUEUED)
        await changed(dispatcher, from_revision=revision_of_text(STAYS))


async def test_without_the_setting_a_file_is_read_once(policy_file: Path) -> None:
    async with Dispatcher(broker=MemoryBroker(), policy=str(policy_file)) as dispatcher:
        before = dispatcher.policy
        await write(policy_file, QUEUED)
        await anyio.sleep(0.2)
        assert dispatcher.policy is before


def test_watching_what_is_no_file_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"policy_watch_s is 1, and the policy \('by-weight'\) is from no file"):
        Dispatcher(policy_watch_s=1)


def test_a_file_is_not_taken_half_written() -> None:
    file = WatchedFile(Path("ours.toml"))

    due = [file.is_due(content) for content in (b"one", b"one", b"tw", b"two", b"two", b"two", b"one", b"one")]

    assert due == [False, True, False, False, True, False, False, True]


async def test_a_file_that_has_changed_before_the_first_look_is_taken(policy_file: Path) -> None:
    @task(weight=1)
    def light() -> None: ...

    dispatcher = Dispatcher(broker=MemoryBroker(), policy=str(policy_file), policy_watch_s=0.02)
    await write(policy_file, QUEUED)
    async with dispatcher:
        await changed(dispatcher, from_revision=revision_of_text(STAYS))
        assert dispatcher.explain(light).lane is Lane.QUEUE


async def test_a_file_that_becomes_a_pipe_is_refused_and_the_watch_goes_on(
    policy_file: Path, events: pytest.LogCaptureFixture
) -> None:
    async with Dispatcher(broker=MemoryBroker(), policy=str(policy_file), policy_watch_s=0.02) as dispatcher:
        await anyio.Path(policy_file).unlink()
        await anyio.to_thread.run_sync(os.mkfifo, policy_file)
        await seen(events, POLICY_REFUSED, times=1)
        await anyio.Path(policy_file).unlink()
        await write(policy_file, QUEUED)
        await changed(dispatcher, from_revision=revision_of_text(STAYS))


async def test_what_was_assigned_while_the_file_was_looked_at_stays(policy_file: Path) -> None:
    async with Dispatcher(broker=MemoryBroker(), policy=str(policy_file), policy_watch_s=3_600) as dispatcher:
        watch = dispatcher._policies.watch
        assert watch is not None
        looked_at = watch.file
        assert looked_at is not None
        dispatcher.policy = "all-queued"

        dispatcher._policies._take_over(dispatcher.policy, looked_at)

        assert watch.file is None
        assert dispatcher.policy.source == "all-queued (shipped)"  # type: ignore[attr-defined]  # it is one of rules
