"""Signals, as something that can be waited for beside other descriptors, and what a stop signal asks for."""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from types import FrameType, TracebackType
from typing import Any, Final, Self

#: Ctrl-C and systemd's default KillMode reach every process of a service, and some tools signal twice.
SAME_WISH_S: Final = 1.0


class Wish(StrEnum):
    """What a SIGTERM or SIGINT asks of a supervisor."""

    STOP = "stop"
    IGNORE = "ignore"
    FORCE = "force"


class StopSignals:
    """The first signal asks to stop; others within a second say the same once more; a later one forces."""

    def __init__(self) -> None:
        self._first_s: float | None = None

    def heard(self, now_s: float) -> Wish:
        """What the signal that came at ``now_s`` asks for."""
        if self._first_s is None:
            self._first_s = now_s
            return Wish.STOP
        return Wish.IGNORE if now_s - self._first_s < SAME_WISH_S else Wish.FORCE


class SignalInbox:
    """While entered, the given signals are kept for :meth:`take` and make :meth:`fileno` readable.

    A process has one receiver of signals, so only its main thread may enter. Leaving restores the handlers, or sets
    ``afterwards`` for all.
    """

    def __init__(
        self,
        signals: Iterable[signal.Signals],
        *,
        clock: Callable[[], float],
        afterwards: signal.Handlers | None = None,
    ) -> None:
        self._afterwards = afterwards
        self._signals = tuple(signals)
        self._clock = clock
        self._heard: deque[tuple[signal.Signals, float]] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(0)
        self._writer.settimeout(0)
        self._before: dict[signal.Signals, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for each in self._signals:
            self._before[each] = signal.signal(each, self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler if self._afterwards is None else self._afterwards)
        signal.set_wakeup_fd(self._fd_before)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """The descriptor that becomes readable with a signal."""
        return self._reader.fileno()

    def take(self) -> list[tuple[signal.Signals, float]]:
        """The signals heard since the last time, each with the moment on the clock."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass  # drained
        taken = []
        while self._heard:
            taken.append(self._heard.popleft())
        return taken

    def _keep(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  # a handler's signature
        self._heard.append((signal.Signals(signum), self._clock()))
