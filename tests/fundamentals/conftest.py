"""What each fundamental has at hand: a broker, tasks of its own, and a list of what happened."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from .broker import MemoryBroker
from .happenings import happened


@pytest.fixture(autouse=True)
def nothing_of_other_tests(only_own_tasks: None) -> None:
    happened.clear()


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    broker = MemoryBroker()
    yield broker
    broker.close()


@pytest.fixture
def no_broker_url() -> str:
    """An address where no broker listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
