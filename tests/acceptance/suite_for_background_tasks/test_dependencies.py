"""Tasks that are added by dependencies, and tasks beside dependencies with ``yield``."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends
from fastapi.testclient import TestClient

from .service import new_app


def test_tasks_of_a_dependency_run_before_those_of_the_endpoint() -> None:
    app = new_app()
    done: list[str] = []

    def audit(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "dependency")

    @app.get("/", dependencies=[Depends(audit)])
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "endpoint")

    with TestClient(app) as client:
        client.get("/")
    assert done == ["dependency", "endpoint"]


def test_sub_dependencies_and_the_endpoint_share_one_object() -> None:
    app = new_app()
    seen: list[BackgroundTasks] = []

    async def low(background_tasks: BackgroundTasks) -> None:
        seen.append(background_tasks)

    def high(background_tasks: BackgroundTasks, _: Annotated[None, Depends(low)]) -> None:
        seen.append(background_tasks)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks, _: Annotated[None, Depends(high)]) -> None:
        seen.append(background_tasks)

    with TestClient(app) as client:
        client.get("/")
    assert len(seen) == 3
    assert len({id(each) for each in seen}) == 1


def test_a_class_as_a_dependency_takes_the_tasks_in_its_constructor() -> None:
    app = new_app()
    sent: list[str] = []

    class Notifier:
        def __init__(self, background_tasks: BackgroundTasks) -> None:
            self.background_tasks = background_tasks

        def notify(self, address: str) -> None:
            self.background_tasks.add_task(sent.append, address)

    @app.post("/users/{name}")
    async def create(name: str, notifier: Annotated[Notifier, Depends()]) -> None:
        notifier.notify(f"{name}@example.com")

    with TestClient(app) as client:
        client.post("/users/ann")
    assert sent == ["ann@example.com"]


def test_a_task_still_finds_open_what_a_dependency_closes_after_its_yield() -> None:
    app = new_app()
    events: list[str] = []

    async def session() -> AsyncIterator[str]:
        events.append("open")
        yield "session"
        events.append("close")

    async def work(name: str) -> None:
        events.append(f"work with {name}")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks, name: Annotated[str, Depends(session)]) -> None:
        background_tasks.add_task(work, name)

    with TestClient(app) as client:
        client.get("/")
    assert events == ["open", "work with session", "close"]


def test_a_mailer_is_replaced_by_an_outbox_with_dependency_overrides() -> None:
    app = new_app()
    outbox: list[str] = []

    def mailer() -> Callable[[str], None]:
        raise AssertionError("no test sends mail")

    @app.post("/invitations/{address}", status_code=202)
    async def invite(
        address: str, background_tasks: BackgroundTasks, send: Annotated[Callable[[str], None], Depends(mailer)]
    ) -> None:
        background_tasks.add_task(send, address)

    app.dependency_overrides[mailer] = lambda: outbox.append
    with TestClient(app) as client:
        assert client.post("/invitations/ann").status_code == 202
    assert outbox == ["ann"]


def test_an_overriding_dependency_adds_tasks_too() -> None:
    app = new_app()
    done: list[str] = []

    async def audit(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "real")

    async def audit_for_tests(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "fake")

    @app.get("/", dependencies=[Depends(audit)])
    async def endpoint() -> None: ...

    app.dependency_overrides[audit] = audit_for_tests
    with TestClient(app) as client:
        client.get("/")
    assert done == ["fake"]


def test_routers_and_their_dependencies_add_tasks() -> None:
    app = new_app()
    done: list[str] = []

    async def audit(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(done.append, "router")

    router = APIRouter(prefix="/users", dependencies=[Depends(audit)])

    @router.get("/{name}")
    def read(name: str, background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(done.append, name)
        return name

    app.include_router(router, prefix="/v1")
    with TestClient(app) as client:
        assert client.get("/v1/users/ann").json() == "ann"
    assert done == ["router", "ann"]
