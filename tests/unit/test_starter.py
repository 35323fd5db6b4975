"""Starting what outlives whoever asked, and calling back later."""

from __future__ import annotations

import anyio
import pytest

from weighbridge.lanes.starter import open_starter

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_later_comes_unless_it_is_called_off() -> None:
    starter = await open_starter()
    told: list[str] = []
    came = anyio.Event()

    def come() -> None:
        told.append("came")
        came.set()

    starter.later(0.02, come)
    call_off = starter.later(0.01, lambda: told.append("called off"))
    call_off()
    with anyio.fail_after(5):
        await came.wait()
    await starter.stop()

    assert told == ["came"]


async def test_what_comes_later_keeps_no_starter_from_stopping() -> None:
    told: list[str] = []
    with anyio.fail_after(5):
        starter = await open_starter()
        call_off = starter.later(60, lambda: told.append("came"))
        await starter.stop()
    call_off()

    assert told == []
