"""Above the lane's bounds: the policy may spill to the queue; what stays waits for room for a time, then gets 503."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from weighbridge import BackgroundTasks, Dispatcher, Ticket, task
from weighbridge.decision import Decision, Facts, Lane

from .broker import MemoryBroker
from .happenings import happened, note


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def busy_service(release: threading.Event, **settings: object) -> tuple[FastAPI, Dispatcher]:
    """One thread, which is held, and room for one call that waits."""
    settings = {"in_process_threads": 1, "in_process_waiting": 1, "wait_in_process": False, **settings}
    dispatcher = Dispatcher(**settings)  # type: ignore[arg-type]  # settings by name
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    def hold() -> None:
        release.wait(20)

    @app.post("/hold")
    async def hold_the_thread(tasks: BackgroundTasks) -> None:
        tasks.add_task(hold)

    @app.post("/note/{event}")
    async def add_note(event: str, tasks: BackgroundTasks) -> None:
        tasks.add_task(note_sync, event)

    return app, dispatcher


def note_sync(event: str) -> None:
    note(event)


def test_a_request_that_finds_no_room_in_time_gets_503_and_none_of_its_calls_run(release: threading.Event) -> None:
    app, dispatcher = busy_service(release, admission_timeout_s=0.02)
    with TestClient(app) as client:
        client.post("/hold")
        assert client.post("/note/waits").status_code == 200
        refused = client.post("/note/refused")
        release.set()

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["weighbridge-enqueued"] == "no"
    assert happened == ["waits"]
    assert dispatcher.in_process_counts.refused == 1


def test_a_request_waits_for_room_and_is_accepted_when_it_comes(release: threading.Event) -> None:
    app, dispatcher = busy_service(release, admission_timeout_s=20)
    with TestClient(app) as client, ThreadPoolExecutor(1) as other:
        client.post("/hold")
        client.post("/note/waits")
        answer = other.submit(client.post, "/note/waited for room")
        while not dispatcher._in_process._room._applicants:  # type: ignore[union-attr]  # it is open
            assert not answer.done()
        release.set()
        assert answer.result(10).status_code == 200

    assert happened == ["waits", "waited for room"]


def test_a_policy_may_send_to_the_queue_what_finds_the_lane_busy(release: threading.Event) -> None:
    class Spill:
        def decide(self, facts: Facts) -> Decision:
            busy = facts.in_process.waiting >= 1
            return Decision(Lane.QUEUE if busy else Lane.IN_PROCESS, "busy" if busy else "free", "spill")

    crosses = task(name="crosses")(note_sync)
    broker = MemoryBroker()
    app, _ = busy_service(release, broker=broker, policy=Spill())
    lanes: list[str] = []

    @app.post("/crosses")
    async def add(tasks: BackgroundTasks) -> None:
        lanes.append(tasks.add_task(crosses, "crosses").lane)

    with TestClient(app) as client:
        client.post("/hold")
        for _ in range(3):
            assert client.post("/crosses").status_code == 200
        assert lanes == ["in_process", "queue", "queue"]
        release.set()


def test_a_policy_sees_the_calls_that_its_own_request_has_added() -> None:
    """Or a request that adds a thousand would find the lane idle a thousand times."""

    class Spill:
        def decide(self, facts: Facts) -> Decision:
            return Decision(Lane.QUEUE if facts.in_process.waiting >= 3 else Lane.IN_PROCESS, "spill", "spill")

    crosses = task(name="crosses")(note_sync)
    dispatcher = Dispatcher(broker=MemoryBroker(), policy=Spill())
    app = FastAPI(lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate])

    @app.post("/")
    async def add(tasks: BackgroundTasks) -> list[str]:
        tickets: list[Ticket] = [tasks.add_task(crosses, "crosses") for _ in range(6)]
        return [ticket.lane for ticket in tickets]

    with TestClient(app) as client:
        assert client.post("/").json() == ["in_process"] * 3 + ["queue"] * 3


def test_what_the_broker_refuses_and_may_run_here_waits_for_room_as_well(
    release: threading.Event, no_broker_url: str
) -> None:
    """At the commit, and once the breaker is open, when it is decided for this lane at once."""
    crosses = task(name="crosses", weight=200, on_unavailable="run_here")(note_sync)
    app, dispatcher = busy_service(release, broker_url=no_broker_url, admission_timeout_s=0.02)

    @app.post("/crosses")
    async def add(tasks: BackgroundTasks) -> None:
        tasks.add_task(crosses, "crosses")

    with TestClient(app) as client:
        client.post("/hold")
        assert client.post("/crosses").status_code == 200
        refused = client.post("/crosses")
        release.set()

    assert refused.status_code == 503
    assert happened == ["crosses"]
    assert dispatcher.in_process_counts.refused == 1
