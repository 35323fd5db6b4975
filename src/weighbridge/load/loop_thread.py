"""The loop's thread, looked at from another one: which in-process call runs there at this moment, and where."""

from __future__ import annotations

import asyncio
import sys
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Final, cast

import anyio.lowlevel

from weighbridge.call import Call, on_loop
from weighbridge.decision import Lane
from weighbridge.run import CurrentCall, current_call_in

#: Lines of a stack that are kept, the innermost ones: a recursion may be a thousand deep.
LINES_KEPT: Final = 100

#: A file, the line in it, and the name of the function.
Line = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What ran on the loop's thread: a call of ``task``, and the lines of its stack, that of its function first.

    It holds neither a frame nor a value of one.
    """

    task: str
    call_id: str
    lines: tuple[Line, ...]


class LoopThread:
    """The thread that runs an event loop. :meth:`look` is for another thread."""

    def __init__(self, *, ident: int, token: anyio.lowlevel.EventLoopToken) -> None:
        self._ident = ident
        native: object = token.native_token
        self._asyncio_loop = native if isinstance(native, asyncio.AbstractEventLoop) else None

    def look(self) -> Look | None:
        """The in-process call whose code runs there now, or what such a call has started; ``None`` if none does.

        Of another thread's frames nothing is read but the places, and one local variable of a function of ours:
        reading the variables of foreign functions would keep their values alive.
        """
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001  # public, for all its name: see the module sys
        started = self._started_by_call()
        frames: list[FrameType] = []
        while frame is not None:
            if frame.f_code is on_loop.__code__:
                call = cast("Call", frame.f_locals["call"])
                return _look(call.name, call.id, frames) if call.is_async else None
            frames.append(frame)
            if started is not None and frame is started[1]:
                return _look(started[0].task, started[0].id, frames)
            frame = frame.f_back
        # Frames of a greenlet do not lead to what has switched to it. The loop is in the task's step all the same.
        return None if started is None else _look(started[0].task, started[0].id, frames)

    def _started_by_call(self) -> tuple[CurrentCall, FrameType] | None:
        """The in-process call that has started the asyncio task which runs now, and the outermost frame of that task.

        A task inherits the context variables of the one that starts it, the current call among them. Python 3.11 does
        not give the context of a task, nor does trio give another thread its task.
        """
        if sys.version_info >= (3, 12) and self._asyncio_loop is not None:
            task = asyncio.current_task(self._asyncio_loop)
            if task is not None:
                call = current_call_in(task.get_context())
                frame = getattr(task.get_coro(), "cr_frame", None)
                if call is not None and call.lane is Lane.IN_PROCESS and frame is not None:
                    return call, frame
        return None


def _look(task: str, call_id: str, frames: list[FrameType]) -> Look:
    """The look at a call whose frames are these, the innermost one first."""
    lines = [
        (frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name) for frame in reversed(frames[:LINES_KEPT])
    ]
    return Look(task=task, call_id=call_id, lines=tuple(lines))


def shown(lines: tuple[Line, ...]) -> str:
    """A stack as Python prints one, with the source of each line."""
    summary = traceback.StackSummary.from_list(
        [traceback.FrameSummary(file, line, name, lookup_line=False) for file, line, name in lines]
    )
    return "".join(["Stack (most recent call last):\n", *summary.format()]).rstrip("\n")
