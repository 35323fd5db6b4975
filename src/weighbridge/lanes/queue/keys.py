"""The keys of one queue on the server, and which of them outlive their use.

All keys of a queue carry its name in a hash tag, so that a Redis Cluster keeps them in one slot and a script may
touch them together. A namespace with braces of its own (``{weighbridge}``) puts all queues into one slot.

==================================  ==========  ===============================================================
key                                 type        life
==================================  ==========  ===============================================================
``<ns>:queues``                     set         stays: one name for each queue that was ever consumed
``<ns>:{<queue>}:stream``           stream      stays: messages that can be fetched, and those fetched and not done
``<ns>:{<queue>}:delayed``          sorted set  stays: messages by the time they are due (server's clock, ms)
``<ns>:{<queue>}:wake``             string      stays: there while an entry that wakes a reader is under way
``<ns>:{<queue>}:mark:<id>:<n>``    string      TTL: the n-th attempt of a message was written; with an entry's id
                                                (``entry-…``): the n-th message that follows from its end was
``<ns>:{<queue>}:crashes``          hash        TTL: how often worker processes have died while they ran an entry
``<ns>:{<queue>}:dead``             sorted set  TTL: ids of dead letters by the time of their death (ms)
``<ns>:{<queue>}:letter:<id>``      hash        TTL: one dead letter
``<ns>:{workers}:index``            sorted set  TTL: ids of worker processes by the time of their last word (s)
``<ns>:{workers}:live:<id>``        string      TTL: what one live worker process says of itself
``<ns>:primary``                    none        never written: in a cluster its slot is where the namespace lies
``<ns>:doctor``                     string      TTL: what ``weighbridge doctor`` writes to see whether it can
``<ns>:shadow:<day>``               hash        TTL: what was counted of the shadow policy on one day (UTC)
==================================  ==========  ===============================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from weighbridge.errors import QueueNameError

#: Seconds for which a write is remembered: twice the longest ``enqueue_timeout_s``, in which it may be repeated.
#: The end of a run is repeated every few seconds until it succeeds, and each time renews the marks of what follows.
MARKER_TTL_S: Final = 120.0
#: The consumer group: all workers of a queue share its messages.
GROUP: Final = "workers"
#: The member of the group to whom the entries of a worker that is known to be dead are given: anybody may take them
#: at once, and their crashes are counted. No worker's name has parentheses.
ORPHANS: Final = "(orphans)"
#: Milliseconds since the last sign of life of what orphans hold: longer than any lease.
ORPHANED_MS: Final = 86_400_000
#: Seconds for which crashes are remembered after the last one in a queue.
CRASHES_TTL_S: Final = 7 * 86_400
#: Ends of the keys that have no TTL. Their number is bounded by the number of queues.
LASTING: Final = ("queues", "stream", "delayed", "wake")
#: Dramatiq's alphabet for queue names. Braces, above all, would move the hash tag.
_QUEUE_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]*")


def queues_key(namespace: str) -> str:
    """The set of the names of all queues that were ever consumed in this namespace."""
    return f"{namespace}:queues"


def worker_index_key(namespace: str) -> str:
    """Where to look for live worker processes."""
    return f"{namespace}:{{workers}}:index"


def worker_key(namespace: str, worker_id: str) -> str:
    """One live worker process."""
    return f"{namespace}:{{workers}}:live:{worker_id}"


def primary_key(namespace: str) -> str:
    """Never written: asking for it finds the node of a Redis Cluster that keeps a namespace with a hash tag."""
    return f"{namespace}:primary"


def probe_key(namespace: str) -> str:
    """What a check of the server writes, and lets expire."""
    return f"{namespace}:doctor"


def shadow_key(namespace: str, day: str) -> str:
    """The shadow policy's counts of one day, which stands there as ``YYYY-MM-DD``."""
    return f"{namespace}:shadow:{day}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueKeys:
    """The keys of one queue.

    :raises QueueNameError: if the queue's name has a character that queue names cannot have.
    """

    namespace: str
    queue: str

    def __post_init__(self) -> None:
        if _QUEUE_NAME.fullmatch(self.queue) is None:
            raise QueueNameError(queue=self.queue)

    @property
    def stream(self) -> str:
        """Messages that can be fetched, and those that a worker holds."""
        return f"{self.namespace}:{{{self.queue}}}:stream"

    @property
    def delayed(self) -> str:
        """Messages that are not due yet."""
        return f"{self.namespace}:{{{self.queue}}}:delayed"

    @property
    def wake(self) -> str:
        """Says that an entry in the stream is on its way to wake a reader."""
        return f"{self.namespace}:{{{self.queue}}}:wake"

    @property
    def crashes(self) -> str:
        """How often worker processes have died while they ran an entry, and which entries run alone."""
        return f"{self.namespace}:{{{self.queue}}}:crashes"

    @property
    def dead(self) -> str:
        """The index of the dead letters."""
        return f"{self.namespace}:{{{self.queue}}}:dead"

    def mark(self, message_id: str, attempt: int) -> str:
        """Says that this attempt of a message was written, so that a repeated write does nothing."""
        return f"{self.namespace}:{{{self.queue}}}:mark:{message_id}:{attempt}"

    def follow_up_mark(self, entry_id: str, number: int) -> str:
        """Says that this message was written, of those that follow from the end of an entry."""
        return f"{self.namespace}:{{{self.queue}}}:mark:entry-{entry_id}:{number}"

    def letter(self, letter_id: str) -> str:
        """One dead letter."""
        return f"{self.namespace}:{{{self.queue}}}:letter:{letter_id}"
