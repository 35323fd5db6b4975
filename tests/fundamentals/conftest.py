"""What each fundamental has at hand: a broker, tasks of its own, and a list of what happened."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from weighbridge.task import registry

from .broker import MemoryBroker
from .happenings import happened


@pytest.fixture(autouse=True)
def tasks_of_this_test_only() -> Iterator[None]:
    """A dispatcher looks at every declared task, so what other tests declared is put aside."""
    before = list(registry)
    for spec in before:
        registry.discard(spec.name)
    happened.clear()
    yield
    for spec in registry:
        registry.discard(spec.name)
    for spec in before:
        registry.add(spec)


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
