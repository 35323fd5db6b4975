"""What an endpoint may hand to ``add_task``, and what has happened when the client has its response."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from fastapi import BackgroundTasks
from fastapi.testclient import TestClient

from .service import new_app


def test_a_sync_task_runs_with_its_arguments() -> None:
    app = new_app()
    sent: list[tuple[str, str]] = []

    def notify(address: str, *, subject: str) -> None:
        sent.append((address, subject))

    @app.post("/orders")
    async def order(background_tasks: BackgroundTasks) -> dict[str, bool]:
        background_tasks.add_task(notify, "ann@example.com", subject="Your order")
        return {"ok": True}

    assert TestClient(app).post("/orders").json() == {"ok": True}
    assert sent == [("ann@example.com", "Your order")]


def test_an_async_task_runs_with_its_arguments() -> None:
    app = new_app()
    sent: list[tuple[str, str]] = []

    async def notify(address: str, *, subject: str) -> None:
        sent.append((address, subject))

    @app.post("/orders")
    async def order(background_tasks: BackgroundTasks) -> dict[str, bool]:
        background_tasks.add_task(notify, address="ann@example.com", subject="Your order")
        return {"ok": True}

    assert TestClient(app).post("/orders").json() == {"ok": True}
    assert sent == [("ann@example.com", "Your order")]


def test_a_sync_endpoint_adds_tasks_as_an_async_one_does() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/")
    def endpoint(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(done.append, "done")
        return "ok"

    with TestClient(app) as client:
        assert client.get("/").json() == "ok"
    assert done == ["done"]


def test_sync_and_async_tasks_run_in_the_order_in_which_they_were_added() -> None:
    app = new_app()
    done: list[int] = []

    def sync_task(number: int) -> None:
        done.append(number)

    async def async_task(number: int) -> None:
        done.append(number)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        for number in range(0, 10, 2):
            background_tasks.add_task(sync_task, number)
            background_tasks.add_task(async_task, number + 1)

    with TestClient(app) as client:
        client.get("/")
    assert done == list(range(10))


def test_a_sync_task_does_not_run_on_the_event_loops_thread() -> None:
    app = new_app()
    threads: dict[str, int] = {}

    def remember() -> None:
        threads["task"] = threading.get_ident()

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        threads["loop"] = threading.get_ident()
        background_tasks.add_task(remember)

    with TestClient(app) as client:
        client.get("/")
    assert threads["task"] != threads["loop"]


def test_lambdas_partials_and_bound_methods_are_tasks_too() -> None:
    app = new_app()
    done: set[str] = set()

    class Mailer:
        def send(self, address: str) -> None:
            done.add(f"method {address}")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(lambda: done.add("lambda"))
        background_tasks.add_task(partial(done.add, "partial"))
        background_tasks.add_task(Mailer().send, "ann")

    with TestClient(app) as client:
        client.get("/")
    assert done == {"lambda", "partial", "method ann"}


def test_objects_with_a_sync_or_async_call_are_tasks_too() -> None:
    app = new_app()
    done: list[str] = []

    class Sync:
        def __call__(self, word: str) -> None:
            done.append(f"sync {word}")

    class Async:
        async def __call__(self, word: str) -> None:
            done.append(f"async {word}")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(Sync(), "one")
        background_tasks.add_task(Async(), word="two")

    with TestClient(app) as client:
        client.get("/")
    assert done == ["sync one", "async two"]


def test_a_task_writes_a_file_that_the_next_request_reads(tmp_path: Path) -> None:
    app = new_app()
    log = tmp_path / "log.txt"

    def write(line: str) -> None:
        with log.open("a") as file:
            file.write(line + "\n")

    @app.post("/lines/{line}")
    async def add(line: str, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(write, line)

    @app.get("/lines")
    def read() -> list[str]:
        return log.read_text().splitlines()

    with TestClient(app) as client:
        client.post("/lines/one")
        client.post("/lines/two")
        assert client.get("/lines").json() == ["one", "two"]


def test_tasks_share_the_memory_of_the_service() -> None:
    app = new_app()
    visits: dict[str, int] = {}

    def count(page: str) -> None:
        visits[page] = visits.get(page, 0) + 1

    @app.get("/pages/{page}")
    async def visit(page: str, background_tasks: BackgroundTasks) -> dict[str, int]:
        background_tasks.add_task(count, page)
        return dict(visits)

    with TestClient(app) as client:
        answers = [client.get("/pages/home").json() for _ in range(3)]
    assert answers == [{}, {"home": 1}, {"home": 2}]


def test_each_request_has_tasks_of_its_own() -> None:
    app = new_app()
    done: list[str] = []

    @app.get("/{name}")
    async def endpoint(name: str, background_tasks: BackgroundTasks) -> int:
        background_tasks.add_task(done.append, name)
        return len(background_tasks.tasks)

    with TestClient(app) as client:
        assert [client.get(f"/{name}").json() for name in "abc"] == [1, 1, 1]
    assert done == ["a", "b", "c"]
