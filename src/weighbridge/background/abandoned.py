"""Accepted calls that nobody will run: they are named in the log, and the room that they hold is given back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Final

from weighbridge.call import Call
from weighbridge.dispatch import Dispatch
from weighbridge.events import emit

logger: Final = logging.getLogger("weighbridge.background")

NOT_RUN: Final = "background.calls_not_run"


def abandon(calls: Sequence[Call], dispatch: Dispatch) -> None:
    """Give up calls from any thread: garbage is collected wherever it is found."""
    emit(logger, NOT_RUN, level=logging.WARNING, tasks=[call.name for call in calls])
    native: Any = dispatch.token.native_token
    soon = native.call_soon_threadsafe if hasattr(native, "call_soon_threadsafe") else native.run_sync_soon
    with contextlib.suppress(RuntimeError):  # the loop has ended, and the lane with it
        soon(dispatch.release, calls)
