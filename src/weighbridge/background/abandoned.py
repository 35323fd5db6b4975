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


class Unstarted:
    """Accepted calls of a stand-alone facade; ``calls`` is emptied when a response runs them, or the facade drops them.

    Thrown away with calls in it (the client had left, or ``background=`` was forgotten), it gives them up, from
    whatever thread collects the garbage.
    """

    __slots__ = ("calls", "dispatch")

    def __init__(self, calls: Sequence[Call], dispatch: Dispatch | None) -> None:
        self.calls = calls
        self.dispatch = dispatch

    def __del__(self) -> None:
        if not self.calls:
            return
        emit(logger, NOT_RUN, level=logging.WARNING, tasks=[call.name for call in self.calls])
        if self.dispatch is None:
            return
        native: Any = self.dispatch.token.native_token
        soon = native.call_soon_threadsafe if hasattr(native, "call_soon_threadsafe") else native.run_sync_soon
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the lane with it
            soon(self.dispatch.release, self.calls)
