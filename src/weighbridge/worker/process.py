"""One child, as its supervisor sees it: a fresh interpreter, its messages and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Final, Self

from weighbridge.worker.control import Channel, ChildOptions, ExitCode, Member, Message
from weighbridge.worker.running_table import RunningTable

CHILD_MODULE: Final = "weighbridge.worker.child"
#: Dramatiq's own variable for how many messages of a queue a process holds; set by the user, it is left alone.
PREFETCH: Final = "dramatiq_queue_prefetch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended: by an exit code, or by a signal."""

    code: int | None
    signal: str | None

    @classmethod
    def of(cls, returncode: int) -> Self:
        """From what :mod:`subprocess` calls a return code, where a negative number is a signal's."""
        if returncode >= 0:
            return cls(code=returncode, signal=None)
        try:
            return cls(code=None, signal=signal.Signals(-returncode).name)
        except ValueError:  # a real-time signal has no name
            return cls(code=None, signal=f"signal {-returncode}")

    def __str__(self) -> str:
        return f"exit code {self.code}" if self.signal is None else self.signal


def _environment(options: ChildOptions) -> dict[str, str]:
    """This process's, with Dramatiq told to fetch no more messages of a queue than there are threads to run them.

    It fetches twice as many otherwise, and a short call waits behind a long one while another process is idle.
    """
    return {PREFETCH: str(options.threads), **os.environ}


class ChildProcess:
    """A running child. ``number``: its place among its siblings; ``started_s``: on the supervisor's clock."""

    def __init__(
        self,
        *,
        number: int,
        process: subprocess.Popen[bytes],
        channel: Channel,
        table: RunningTable,
        started_s: float,
    ) -> None:
        self.number = number
        self.started_s = started_s
        self.channel = channel
        self.table = table
        self.member: Member | None = None
        self.ready = False
        self._process = process

    @classmethod
    def start(cls, options: ChildOptions, *, number: int, now_s: float) -> Self:
        """Start a fresh interpreter: nothing of this process is copied into it but its environment.

        :raises OSError: if the system gives no further process.
        """
        channel, theirs = Channel.pair()
        table = RunningTable.create(slots=options.threads)
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603  # every word is ours
                    # -P: the current directory comes first for the user's modules, not for our own imports.
                    [
                        *(sys.executable, "-P", "-m", CHILD_MODULE, options.share, options.to_json()),
                        *(str(theirs.fileno()), str(table.fileno())),
                    ],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), table.fileno()],
                    env=_environment(options),
                    # Out of reach of the terminal's Ctrl-C, together with all the programs that tasks start.
                    start_new_session=True,
                )
            except BaseException:
                channel.close()
                table.close()
                raise
        return cls(number=number, process=process, channel=channel, table=table, started_s=now_s)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def messages(self) -> list[Message]:
        """What the child has said since the last time; as whom it takes calls is kept in ``member``."""
        messages = self.channel.receive()
        self.member = next((each for each in messages if isinstance(each, Member)), self.member)
        return messages

    def ending(self) -> Ending | None:
        """How it ended, and its remains are cleared away; ``None`` while it runs."""
        returncode = self._process.poll()
        return None if returncode is None else Ending.of(returncode)

    def stop(self) -> None:
        """Ask it to stop: it finishes its running calls."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def stopped_cleanly(self, ending: Ending) -> bool:
        """Whether an ending is what :meth:`stop` asks for; before it is ready, the signal itself ends it."""
        return ending.code == ExitCode.CLEAN or (not self.ready and ending.signal == "SIGTERM")
