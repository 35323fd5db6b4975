"""A message as a worker holds it: with its entry in the stream, and with what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import dramatiq
from dramatiq.errors import DecodeError

from weighbridge.arguments.limit import DEEPEST, is_too_deep

#: Bytes that one byte of an argument may take in a message: Dramatiq writes ``é``, two bytes, as ``\\u00e9``.
_ESCAPED: Final = 3
#: Bytes of a message beside its arguments: names, options, and a traceback of 20,000 characters, all escaped.
_ENVELOPE_BYTES: Final = 256 * 1024
#: Deaths of a worker process after which a message that it ran is suspected of being the cause.
SUSPECT_AFTER: Final = 2
_KINDS: Final = (
    ("queue_name", str),
    ("actor_name", str),
    ("message_id", str),
    ("kwargs", dict),
    ("options", dict),
    ("message_timestamp", int),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a stream, as the server gave it.

    ``counted_crashes`` says how often a worker process has died while it ran this entry; ``condemned``, that it ran
    alone when the last one did.
    """

    id: str
    fields: Mapping[bytes, bytes] = field(repr=False)
    counted_crashes: int = 0
    condemned: bool = False

    @property
    def crashes(self) -> int:
        """How often a worker process has died while it ran this message, as this entry or before it was given back."""
        carried = self.fields.get(b"c", b"")
        return self.counted_crashes + (int(carried) if carried.isdigit() else 0)

    @property
    def is_suspect(self) -> bool:
        """Whether it is run alone: then it is known who killed the process, if it dies again."""
        return self.crashes >= SUSPECT_AFTER and not self.condemned

    @property
    def body(self) -> bytes:
        """The encoded message; empty if this is not an entry of ours."""
        return self.fields.get(b"m", b"")

    @property
    def wakes(self) -> bool:
        """Whether it carries no message and only wakes a reader."""
        return b"wake" in self.fields

    @property
    def gone(self) -> bool:
        """Whether the queue was emptied while the entry was held, so that only its id is left."""
        return not self.fields


class StreamMessage(dramatiq.MessageProxy):
    """A message on its way through a worker.

    ``entry_id`` is its entry in the stream, ``body`` the message as it lay there, ``attempt`` the number of earlier
    runs that failed, ``cause`` the exception that ended the run, if one did.
    """

    def __init__(self, message: dramatiq.Message[Any], *, entry: Entry) -> None:
        super().__init__(message)
        # Dramatiq's proxy finds these by __getattr__, and each of them is asked for several times in a run.
        self.queue_name = message.queue_name
        self.actor_name = message.actor_name
        self.args = message.args
        self.kwargs = message.kwargs
        self.options = message.options
        self.message_id = message.message_id
        self.entry_id = entry.id
        self.body = entry.body
        self.attempt = attempt_of(message)
        self.cause: BaseException | None = None

    def __str__(self) -> str:
        """Task and id: Dramatiq writes a message like this into its log, and argument values do not belong there."""
        return f"{self.actor_name} ({self.message_id})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def stuff_exception(self, exception: BaseException) -> None:
        """Keep the exception; Dramatiq's own place for it is private."""
        super().stuff_exception(exception)
        self.cause = exception

    def clear_exception(self) -> None:
        """Let go of the exception, and with it of the frames that it holds."""
        super().clear_exception()
        self.cause = None


def ours(message: dramatiq.MessageProxy) -> StreamMessage:
    """A message that Dramatiq's worker hands back: it is the one that the consumer gave it."""
    if not isinstance(message, StreamMessage):
        raise TypeError(f"a message of this consumer is a StreamMessage, not a {type(message).__name__}")
    return message


class UnreadableError(Exception):
    """A body that is no message."""


class OversizedError(UnreadableError):
    """A body that is larger than a message with the largest arguments can be, so that it is not decoded."""


def largest_body(arguments_limit_bytes: int) -> int:
    """The bytes that a message may have whose arguments are within their limit."""
    return _ESCAPED * arguments_limit_bytes + _ENVELOPE_BYTES


def check_body(body: bytes, *, limit_bytes: int) -> None:
    """Look at the size of a body, before it is decoded.

    :raises OversizedError: if it is more than ``limit_bytes``.
    """
    if len(body) > limit_bytes:
        raise OversizedError(
            f"is {len(body):,} bytes, more than the {limit_bytes:,} that a message may have by arguments_limit_kib"
        )


def read_message(body: bytes) -> dramatiq.Message[Any]:
    """The message in a body.

    :raises UnreadableError: if there is none, or one with parts of the wrong type: in Dramatiq's worker, either
        would cost a thread. The text names the fault and no value.
    """
    try:
        message: dramatiq.Message[Any] = dramatiq.Message.decode(body)
    except DecodeError as error:
        raise UnreadableError(f"cannot be decoded: {type(error.error).__name__}") from error
    wrong = [name for name, kind in _KINDS if not isinstance(getattr(message, name), kind)]
    if wrong:
        raise UnreadableError(f"has a wrong type in {', '.join(wrong)}")
    try:
        f"{message.queue_name}{message.actor_name}{message.message_id}".encode()
    except UnicodeEncodeError as error:  # JSON can say half a character, which no key or log can
        raise UnreadableError("has half a character in a name or its id") from error
    if is_too_deep(message.args) or is_too_deep(message.kwargs.values()):
        raise UnreadableError(f"has arguments nested more than {DEEPEST} levels deep")
    return message


def attempt_of(message: dramatiq.Message[Any] | dramatiq.MessageProxy) -> int:
    """How many runs of a message have failed, as Dramatiq's ``Retries`` counts them."""
    return int(message.options.get("retries") or 0)
