"""What a worker process runs at this moment, in memory that it shares with its supervisor.

The process writes it without a system call and without a lock, and it outlives the process: so the supervisor knows
what ran when the process died, whatever it died of, and what runs while a task holds the interpreter.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import tempfile
import time
import zlib
from dataclasses import dataclass
from typing import Final, Self

#: A sign of life (monotonic seconds), and whether the process has been asked to stop.
_HEAD: Final = struct.Struct("=d?7x")
_BEAT: Final = struct.Struct("=d")
#: Of a slot: a checksum over the rest, the text's length, start and time limit in seconds. An empty slot is zeros.
_SLOT: Final = struct.Struct("=IIdd")
SLOT_BYTES: Final = 1024
_TEXT_BYTES: Final = SLOT_BYTES - _SLOT.size
#: Characters of a task's name and of a call's id that are kept: they are for logs.
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCall:
    """One running call: its entry in its queue, its task and id (both cut to 60 characters).

    ``started_s`` is a time on the clock that ``time.monotonic`` reads in all processes of a machine; ``limit_s`` the
    seconds that the run may take, or infinity.
    """

    queue: str
    entry_id: str
    task: str
    call_id: str
    started_s: float
    limit_s: float


class RunningTable:
    """One slot for each thread of one process. The process writes, and its supervisor reads.

    A slot that is read while it is written, or whose writer died in the middle, reads as empty: the run has not begun.
    """

    def __init__(self, descriptor: int, *, slots: int) -> None:
        self.slots = slots
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _size(slots))

    @classmethod
    def create(cls, *, slots: int) -> Self:
        """A new table. :raises OSError: if the system has no memory or descriptor for it."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("weighbridge-running")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.write(descriptor, bytes(_size(slots)))
            return cls(descriptor, slots=slots)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def attach(cls, descriptor: int, *, slots: int) -> Self:
        """The table that another process has created; the programs that this one starts do not get it."""
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # the signature is Python's
        return cls(descriptor, slots=slots)

    def fileno(self) -> int:
        """The descriptor, to be handed to a child."""
        return self._descriptor

    def beat(self) -> None:
        """Give a sign of life."""
        self._memory[: _BEAT.size] = _BEAT.pack(time.monotonic())

    @property
    def beat_s(self) -> float:
        """When the last sign of life was given (monotonic seconds); 0: there was none."""
        beat_s: float = _HEAD.unpack_from(self._memory)[0]
        return beat_s

    def stop(self) -> None:
        """Say that the process was asked to stop: what still runs at its end was cut off, and has not ended it."""
        self._memory[_BEAT.size] = 1

    @property
    def is_stopping(self) -> bool:
        """Whether :meth:`stop` was said."""
        return bool(self._memory[_BEAT.size])

    def write(self, slot: int, call: RunningCall) -> None:
        """This call starts. One whose names do not fit is left out."""
        text = "\0".join((call.queue, call.entry_id, call.task[:_SHOWN], call.call_id[:_SHOWN]))
        encoded = text.encode("utf-8", "replace")
        if len(encoded) > _TEXT_BYTES:
            return
        times = struct.pack("=dd", call.started_s, call.limit_s)
        checksum = zlib.crc32(encoded, zlib.crc32(times))
        at = _place(slot)
        whole = struct.pack("=II", checksum, len(encoded)) + times + encoded
        self._memory[at : at + len(whole)] = whole

    def clear(self, slot: int) -> None:
        """The call in this slot has ended."""
        at = _place(slot)
        self._memory[at : at + 8] = bytes(8)

    def read(self) -> list[RunningCall]:
        """The calls that run now."""
        calls = (self._read(_place(slot)) for slot in range(self.slots))
        return [call for call in calls if call is not None]

    def _read(self, at: int) -> RunningCall | None:
        slot = self._memory[at : at + SLOT_BYTES]
        checksum, length, started_s, limit_s = _SLOT.unpack_from(slot)
        if not 0 < length <= _TEXT_BYTES:
            return None
        encoded = slot[_SLOT.size : _SLOT.size + length]
        if zlib.crc32(encoded, zlib.crc32(slot[8 : _SLOT.size])) != checksum:
            return None
        queue, entry_id, task, call_id = encoded.decode("utf-8", "replace").split("\0", 3)
        return RunningCall(
            queue=queue, entry_id=entry_id, task=task, call_id=call_id, started_s=started_s, limit_s=limit_s
        )

    def close(self) -> None:
        """Let go of the memory, on this side."""
        self._memory.close()
        os.close(self._descriptor)


def overdue(calls: list[RunningCall], *, now_s: float, margin_s: float) -> list[RunningCall]:
    """Those that have run for longer than their time limit and the margin."""
    return [call for call in calls if call.limit_s < math.inf and now_s > call.started_s + call.limit_s + margin_s]


def _size(slots: int) -> int:
    return _HEAD.size + slots * SLOT_BYTES


def _place(slot: int) -> int:
    return _HEAD.size + slot * SLOT_BYTES
