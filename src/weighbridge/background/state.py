"""Where a facade is on its way: it takes calls while open, and commits once."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from weighbridge.errors import CommittedError


class State(StrEnum):
    """The stages of a facade; an endpoint that fails, or gives its calls up, discards them at any of them."""

    OPEN = "open"
    COMMITTING = "committing"
    COMMITTED = "committed"
    FAILED = "failed"
    DISCARDED = "discarded"


def too_late(func: Callable[..., Any]) -> CommittedError:
    """The error for a call that is added when it could only be lost."""
    return CommittedError(
        action=f"add_task({getattr(func, '__qualname__', func)!s})",
        remedy="add calls before the response starts; what a streaming endpoint adds while it streams needs "
        "dispatcher.tasks()",
    )
