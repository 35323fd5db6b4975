from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
from fastapi import FastAPI

from weighbridge.cli.app_reference import find_app
from weighbridge.errors import ModuleError

NAME = "weighbridge_test_app"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module that is imported already."""
    module = ModuleType(NAME)
    monkeypatch.setitem(sys.modules, NAME, module)
    return module


def test_an_app_is_found_by_its_name(module: ModuleType) -> None:
    vars(module)["app"] = FastAPI()

    assert find_app(f"{NAME}:app") is vars(module)["app"]


def test_an_app_may_stand_on_an_object_as_for_uvicorn(module: ModuleType) -> None:
    vars(module)["state"] = SimpleNamespace(app=FastAPI())

    assert find_app(f"{NAME}:state.app") is vars(module)["state"].app


def test_whatever_can_be_called_may_be_an_app(module: ModuleType) -> None:
    async def asgi(scope: object, receive: object, send: object) -> None: ...

    vars(module)["asgi"] = asgi

    assert find_app(f"{NAME}:asgi") is asgi


@pytest.mark.parametrize(
    ("apps", "asked", "says"),
    [
        (["api", "admin"], "apo", f"has no 'apo'; did you mean {NAME}:api?"),
        (["service"], "app", f"has no 'app'; did you mean {NAME}:service?"),
        (["one", "two"], "app", f"has no 'app'; the apps there are {NAME}:one, {NAME}:two"),
        ([], "app", "has no 'app'; no variable there holds a FastAPI or Starlette app; name the one that does"),
        (["app"], "text", f"holds in 'text' a value of type str, which is no app; did you mean {NAME}:app?"),
        ([], "app:more", "has no 'app:more'"),
    ],
)
def test_what_is_no_app_is_refused_with_the_apps_that_there_are(
    module: ModuleType, apps: list[str], asked: str, says: str
) -> None:
    vars(module).update({name: FastAPI() for name in apps}, text="text")

    with pytest.raises(ModuleError) as caught:
        find_app(f"{NAME}:{asked}")

    assert f"module {NAME!r} {says}" in str(caught.value)
