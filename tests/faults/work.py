"""What the tasks of both sides do: the same bodies, under weighbridge and under plain Dramatiq."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.faults.record import Mark, Place, Record

#: Where the record is.
RECORD: Final = "FAULTS_RECORD"
#: What a service's process has in its environment, and a worker's has not.
IS_SERVICE: Final = "FAULTS_SERVICE"
#: Of a hundred calls that may fail, so many fail in their first run.
FAILING_PER_CENT: Final = 15


class Kind(StrEnum):
    """What one call does."""

    PLAIN = "plain"
    """Takes ``ms`` milliseconds."""
    FAILING = "failing"
    """Raises in its first run, after ``ms`` milliseconds; the next succeeds."""
    BROKEN = "broken"
    """Raises in each run."""
    GREEDY = "greedy"
    """Holds the interpreter's lock for ``ms`` milliseconds."""
    EXITS = "exits"
    """Ends its process after ``ms`` milliseconds, as do the next two."""
    CRASHES = "crashes"
    """Writes where it may not, so that its process ends by SIGSEGV."""
    KILLED = "killed"
    """Is killed as the kernel's out-of-memory killer does it: by SIGKILL."""


class BrokenCallError(Exception):
    """What a call raises that is meant to."""


def note_added(call: str) -> None:
    """Note that a call is about to be added."""
    Record(Path(os.environ[RECORD])).note(call, Mark.ADDED, Place.WEB)


def run(call: str, kind: str, ms: int) -> None:
    """One run of one call, in the record from its first line to its last."""
    record = Record(Path(os.environ[RECORD]))
    place = Place.WEB if IS_SERVICE in os.environ else Place.WORKER
    record.note(call, Mark.STARTED, place)
    match Kind(kind):
        case Kind.PLAIN:
            time.sleep(ms / 1000)
        case Kind.FAILING | Kind.BROKEN:
            time.sleep(ms / 1000)
            if kind == Kind.BROKEN or record.first(call):
                record.note(call, Mark.FAILED, place)
                raise BrokenCallError(call)
        case Kind.GREEDY:
            ctypes.PyDLL(None).usleep(ms * 1000)  # PyDLL keeps the lock that CDLL lets go
        case Kind.EXITS:
            time.sleep(ms / 1000)
            os._exit(3)
        case Kind.CRASHES:
            time.sleep(ms / 1000)
            ctypes.string_at(0)
        case Kind.KILLED:
            time.sleep(ms / 1000)
            os.kill(os.getpid(), signal.SIGKILL)
    record.note(call, Mark.FINISHED, place)
