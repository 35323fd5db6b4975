"""The same tests over FastAPI's class and over weighbridge's: nothing but the import differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

SOURCE = Path(__file__).with_name("app.py").read_text(encoding="utf-8")
OURS = "from weighbridge import BackgroundTasks"
THEIRS = "from fastapi import BackgroundTasks"


@pytest.fixture(params=[THEIRS, OURS], ids=["fastapi", "weighbridge"])
def service(request: pytest.FixtureRequest) -> ModuleType:
    module = ModuleType("drop_in_service")
    exec(compile(SOURCE.replace(OURS, request.param), "app.py", "exec"), vars(module))  # noqa: S102  # our own file
    return module


@pytest.fixture
def client(service: ModuleType) -> Iterator[TestClient]:
    with TestClient(service.app) as client:
        yield client


def test_the_import_is_one_line():
    assert SOURCE.count("weighbridge import") == 1


def test_tasks_run_after_the_response_in_the_order_added(client: TestClient, service: ModuleType):
    answer = client.post("/notifications/a@b?q=hello")
    assert answer.json() == {"message": "sent in the background", "query": "hello", "log": ""}
    assert service.log == ["found query: hello", "mail to a@b: hello"]


def test_a_request_that_is_refused_runs_nothing(client: TestClient, service: ModuleType):
    assert client.get("/notifications/a@b").status_code == 405
    assert service.log == []
