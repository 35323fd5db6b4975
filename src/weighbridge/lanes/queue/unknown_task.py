"""Calls of a task that this worker does not know: they wait for a worker that does.

Most often the web processes are newer than the workers, for the minutes of a deployment. The call goes back into its
queue, each time for five seconds, and carries since when it waits; so no worker remembers it, and a restart loses
nothing. All times are those of the server, which it puts into the id of each entry.
"""

from __future__ import annotations

from typing import Any, Final

import dramatiq

from weighbridge.lanes.queue.stream_queue import Write

#: The option of a message that says when a worker first had no task of its name: milliseconds since 1970.
SINCE: Final = "unknown_since_ms"
#: How long a call is left alone after a worker did not know its task.
PAUSE_MS: Final = 5_000
#: How long a call waits for a worker that knows its task. A deployment takes minutes; who waits longer has forgotten
#: the workers, and wants to hear of it.
PATIENCE_MS: Final = 300_000


def unknown_since_ms(message: dramatiq.Message[Any] | dramatiq.MessageProxy, *, entry_id: str) -> int | None:
    """Since when the call waits; ``None`` if no worker has met it before.

    A value that is no time, or one after the entry was made, was not written by a worker, and counts as none.
    """
    since_ms = message.options.get(SINCE)
    if isinstance(since_ms, bool) or not isinstance(since_ms, int) or not 0 <= since_ms <= made_ms(entry_id):
        return None
    return since_ms


def made_ms(entry_id: str) -> int:
    """When an entry was made: the server's time, in milliseconds since 1970."""
    return int(entry_id.partition("-")[0])


def postponed(message: dramatiq.Message[Any] | dramatiq.MessageProxy, *, since_ms: int) -> Write:
    """The same call once more, after the pause: all its options are as they came, for who may know what they mean."""
    copy: dramatiq.Message[Any] = message.copy(options={SINCE: since_ms})
    return Write(body=copy.encode(), delay_ms=PAUSE_MS)
