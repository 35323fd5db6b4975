"""What the tasks of both services do: the same bodies under weighbridge and under stock ``BackgroundTasks``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.faults.record import Mark, Place, Record

#: The directory of the record and of the events.
DIRECTORY: Final = "SHUTDOWN_DIRECTORY"
#: ``web`` or ``worker``: where this process's runs take place.
PLACE: Final = "SHUTDOWN_PLACE"
#: Milliseconds that one run takes.
RUN_MS: Final = "SHUTDOWN_RUN_MS"
#: Seconds for which a streaming response streams.
STREAM_S: Final = "SHUTDOWN_STREAM_S"
#: Set: the lifespan begins with ignoring SIGTERM.
IGNORE_SIGTERM: Final = "SHUTDOWN_IGNORE_SIGTERM"
EVENTS: Final = "events.log"

LIFESPAN_OPENED: Final = "lifespan opened"
LIFESPAN_ENDING: Final = "lifespan ending"
LIFESPAN_ENDED: Final = "lifespan ended"

logger: Final = logging.getLogger("tests.shutdown")


class Kind(StrEnum):
    """What one call may become at shutdown."""

    SYNC = "sync"
    """On a thread; it can be queued."""
    ASYNC = "async"
    """On the event loop; it can be queued."""
    STAYING = "staying"
    """On a thread; it shares the process's memory, so it can never be queued."""


def log_to_file() -> None:
    """Append what weighbridge and this service log to a file, whatever the server does to the root logger.

    Each line is one ``write`` to a file that is open for appending, so lines of several processes never mix.
    """
    handler = logging.FileHandler(Path(os.environ[DIRECTORY]) / EVENTS, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    for name in ("weighbridge", "tests.shutdown"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)


@asynccontextmanager
async def noted_lifespan() -> AsyncIterator[None]:
    """Say in the events how far the lifespan gets. Around all else that the lifespan does."""
    if IGNORE_SIGTERM in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logger.info("%s pid=%s", LIFESPAN_OPENED, os.getpid())
    try:
        yield
    finally:
        logger.info("%s pid=%s", LIFESPAN_ENDED, os.getpid())


def note_ending() -> None:
    """Say in the events that the server has asked the lifespan to end."""
    logger.info("%s pid=%s", LIFESPAN_ENDING, os.getpid())


def run(call: str) -> None:
    """One run of a sync task."""
    _note(call, Mark.STARTED)
    time.sleep(_run_s())
    _note(call, Mark.FINISHED)


async def run_async(call: str) -> None:
    """One run of an async task."""
    _note(call, Mark.STARTED)
    await asyncio.sleep(_run_s())
    _note(call, Mark.FINISHED)


async def streamed(calls: list[str]) -> AsyncIterator[str]:
    """A response's parts: the ids at once, and more for as long as the environment says."""
    yield "\n".join(calls) + "\n"
    end_s = time.monotonic() + float(os.environ[STREAM_S])
    while time.monotonic() < end_s:
        yield ".\n"
        await asyncio.sleep(0.1)


def _note(call: str, mark: Mark) -> None:
    Record(Path(os.environ[DIRECTORY])).note(call, mark, Place(os.environ[PLACE]))


def _run_s() -> float:
    return int(os.environ[RUN_MS]) / 1000
