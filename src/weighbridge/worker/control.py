"""What a supervisor and a child say to each other: the child's options, then JSON lines over a socket pair.

The socket is the child's watch on its supervisor too: its end means that the supervisor is gone, ``kill -9``
included, so no child outlives it for longer than its grace period.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Any, Final, Self

#: Seconds that a child has after its grace period to give back what it has fetched and not started.
GIVE_BACK_S: Final = 5.0


class ExitCode(IntEnum):
    """How a worker process ends, the supervisor and its children alike."""

    CLEAN = 0
    CUT_OFF = 1  # running calls did not end in time; the broker offers them again
    REFUSED = 2  # it cannot work as it is configured


class Share(StrEnum):
    """Which of the queues a child works on."""

    ALL = "all"
    HEAVY = "heavy"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOptions:
    """What one child is to do. ``queues`` empty: its share. ``grace_s``: seconds for running calls at its end."""

    modules: tuple[str, ...]
    dispatcher: str | None
    queues: tuple[str, ...]
    threads: int
    grace_s: float
    share: Share = Share.ALL

    def to_json(self) -> str:
        """The options as one argument of a command line; no secret is in them."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The options that :meth:`to_json` wrote."""
        values = _with_tuples(json.loads(text))
        return cls(**{**values, "share": Share(values["share"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The child can work as configured, and is about to start its threads. Of which queues it knows the tasks."""

    heavy: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The child has started its threads. ``dispatcher`` says where it was found.

    ``tasks`` counts those that it runs, ``in_process_only`` the declared ones that no worker ever does.
    """

    queues: tuple[str, ...]
    threads: int
    tasks: int
    in_process_only: int
    dispatcher: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The child cannot work as configured, and no other start would differ. ``reason`` is for a person."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """As whom the child takes calls from a broker that weighbridge made: enough for its supervisor to stand in for it.

    ``address`` may hold a password: it goes over the socket pair alone.
    """

    address: str = field(repr=False)
    namespace: str
    consumer: str
    queues: tuple[str, ...]
    lease_s: float
    timeout_s: float


Message = Prepared | Member | Ready | Refused
_MESSAGES: Final[dict[str, type[Message]]] = {
    "prepared": Prepared,
    "member": Member,
    "ready": Ready,
    "refused": Refused,
}


class Channel:
    """One end of the socket pair. ``ended`` turns true when the other end is gone."""

    def __init__(self, end: socket.socket) -> None:
        # Not for the processes that a task may start: they would hold the line open.
        end.set_inheritable(False)
        end.settimeout(0)
        self._socket = end
        self._received = b""
        self.ended = False

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """This side's channel, and the bare socket that a child is given."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def fileno(self) -> int:
        """The descriptor, so that a channel can be waited for."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Say one thing; if nobody listens any more, :meth:`receive` will tell."""
        kind = next(kind for kind, known in _MESSAGES.items() if isinstance(message, known))
        line = json.dumps({"kind": kind, **asdict(message)}).encode() + b"\n"
        self._socket.settimeout(None)
        try:
            self._socket.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True
        finally:
            self._socket.settimeout(0)

    def receive(self) -> list[Message]:
        """All complete messages that have come in; does not wait."""
        while not self.ended:
            try:
                chunk = self._socket.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                chunk = b""
            self.ended = not chunk
            self._received += chunk
        *lines, self._received = self._received.split(b"\n")
        return [_decoded(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self.ended = True
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _decoded(line: bytes) -> Message:
    values = _with_tuples(json.loads(line))
    return _MESSAGES[values.pop("kind")](**values)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
