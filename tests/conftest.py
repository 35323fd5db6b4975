"""What every test has: a loop that may not be blocked, real servers, and derandomised examples in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings
from tests.policy_file import STAYS

from weighbridge.embedded import EmbeddedServer
from weighbridge.task import registry

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: then what tests start would inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("laptop", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "laptop")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in three processes at least, for most tests wait; chosen tests run in this one."""
    whole = config.args == config.getini("testpaths")
    return max(3, os.cpu_count() or 1) if whole else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged may hold half characters, which a report cannot take from one process to another."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Blocking the event loop fails any test.

    Making a dispatcher and giving it a policy read small files, as importing a module does; that is start-up, not
    serving, and the one thing of ours that may be done on a loop.
    """
    with blockbuster_ctx() as guard:
        for function in guard.functions.values():
            function.can_block_in("weighbridge/dispatcher.py", {"__init__", "policy"})
        yield guard


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say themselves what is configured; the machine's own variables do not leak in."""
    for variable in [name for name in os.environ if name.upper().startswith("WEIGHBRIDGE_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def only_own_tasks() -> Iterator[None]:
    """A dispatcher looks at every declared task, so what other tests have declared is put aside."""
    before = list(registry)
    for spec in before:
        registry.discard(spec.name)
    yield
    for spec in registry:
        registry.discard(spec.name)
    for spec in before:
        registry.add(spec)


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """A policy file of a test's own, by which all stays."""
    path = tmp_path / "ours.toml"
    path.write_text(STAYS)
    return path


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio; those that also run on trio say so themselves."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """A real server for the whole run; tests take a namespace of their own."""
    with EmbeddedServer.start() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    return redis_server.url
