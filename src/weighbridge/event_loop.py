"""The event loop, seen from another thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anyio.lowlevel

Soon = Callable[[Callable[[], None]], object]


def soon(token: anyio.lowlevel.EventLoopToken) -> Soon:
    """The loop's own thread-safe "call this soon": asyncio's and trio's have different names, anyio's waits.

    What it gives raises ``RuntimeError`` once the loop has ended.
    """
    native: Any = token.native_token
    if hasattr(native, "call_soon_threadsafe"):
        return cast("Soon", native.call_soon_threadsafe)
    return cast("Soon", native.run_sync_soon)
