"""Blocking ways into the facade belong on threads, never on an event loop."""

from __future__ import annotations

import anyio.lowlevel
from anyio import NoEventLoopError

from weighbridge.errors import DispatcherError


def refuse_on_loop() -> None:
    """Refuse to go on where that would block an event loop.

    :raises DispatcherError: on a thread with a running event loop.
    """
    try:
        anyio.lowlevel.current_token()
    except NoEventLoopError:
        return
    raise DispatcherError(
        problem="`with` would block the event loop while it commits", remedy="write `async with` there"
    )
