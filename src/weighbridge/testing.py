"""For tests: the pytest plugin that comes with the package, and a run for a task that is called directly.

With the plugin a suite written for ``BackgroundTasks`` passes unchanged. It sets ``WEIGHBRIDGE_WAIT_IN_PROCESS``
before any test module is imported, so that a response of a ``TestClient`` comes back only when its in-process calls
have ended. A suite that tests the hand-over itself sets the variable to ``false``, or gives
``Dispatcher(wait_in_process=False)``.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Final

import pytest

from weighbridge.decision import Lane
from weighbridge.run import CurrentCall, running

VARIABLE: Final = "WEIGHBRIDGE_WAIT_IN_PROCESS"

_set_here: Final = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Switch waiting on, unless the environment says otherwise."""
    config.stash[_set_here] = VARIABLE not in os.environ
    os.environ.setdefault(VARIABLE, "true")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was found."""
    if config.stash.get(_set_here, False):
        os.environ.pop(VARIABLE, None)


def running_as(
    id: str = "test",  # noqa: A002  # the attribute's name
    *,
    task: str = "test",
    attempt: int = 1,
    lane: Lane = Lane.IN_PROCESS,
) -> AbstractContextManager[None]:
    """Let ``current_call()`` give this call in a ``with`` block, so that a task can be called as a plain function."""
    return running(CurrentCall(id=id, task=task, attempt=attempt, lane=lane))
