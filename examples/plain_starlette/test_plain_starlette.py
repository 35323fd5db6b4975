"""The tasks run after the response, with and without an open dispatcher."""

from __future__ import annotations

from types import ModuleType

import pytest
from starlette.testclient import TestClient


@pytest.fixture
def service() -> ModuleType:
    from plain_starlette import app  # noqa: PLC0415  # what it declares is known only while its tests run

    app.views.clear()
    return app


def test_tasks_run_after_the_response(service: ModuleType, capfd: pytest.CaptureFixture[str]):
    with TestClient(service.app) as client:
        answer = client.get("/pages/home").json()
        assert client.get("/pages/home").json()["views"] == 1
    assert answer["views"] == 0
    assert answer["lane"] == "in_process"
    assert answer["reason"].startswith("policy by-weight")
    assert capfd.readouterr().out.count("somebody looked at home") == 2


def test_without_a_dispatcher_they_run_as_starlette_runs_them(service: ModuleType):
    answer = TestClient(service.app).get("/pages/home").json()  # the lifespan does not run, so nothing is open
    assert answer["reason"] == "no dispatcher is open, so it runs as Starlette would run it"
    assert service.views["home"] == 1
