"""What a page's code finds when it runs: a broker, and a namespace of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.documentation.blocks import ROOT
from tests.documentation.page import OpenPage, opened


@pytest.fixture
def open_page(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], OpenPage]]:
    """Opens a page by its path from the root, with a real broker behind it."""
    with ExitStack() as stack:

        def open_one(path: str) -> OpenPage:
            monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", redis_url)
            monkeypatch.setenv("WEIGHBRIDGE_NAMESPACE", "docs-" + path.replace("/", "-"))
            monkeypatch.setenv("WEIGHBRIDGE_WAIT_IN_PROCESS", "true")
            return stack.enter_context(opened(ROOT / path, tmp_path))

        yield open_one
