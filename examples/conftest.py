"""Each example by itself: what one of them declares and imports is gone before the next one runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighbridge.task import registry

HERE = Path(__file__).parent


@pytest.fixture(autouse=True, scope="module")
def one_example_at_a_time() -> Iterator[None]:
    """Tasks are known in the whole process, and a service with a heavy one refuses to open without a broker."""
    tasks, modules = list(registry), set(sys.modules)
    for spec in tasks:
        registry.discard(spec.name)
    yield
    for spec in registry:
        registry.discard(spec.name)
    for spec in tasks:
        registry.add(spec)
    for name in set(sys.modules) - modules:
        if HERE in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
            del sys.modules[name]
