"""Accepted calls that nobody will run: they are named in the log, and the room that they hold is given back."""

from __future__ import annotations

from collections.abc import Sequence

from weighbridge.call import Call
from weighbridge.dispatch import Dispatch, note_not_run


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
        if self.dispatch is not None:
            self.dispatch.give_up(self.calls)
        else:
            note_not_run(self.calls)
