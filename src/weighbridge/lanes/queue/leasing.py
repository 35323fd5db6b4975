"""What the middleware of a worker may ask of a broker that gives leases."""

from __future__ import annotations

from abc import abstractmethod

import dramatiq

from weighbridge.lanes.queue.server_clock import ServerClock
from weighbridge.lanes.queue.stream_message import StreamMessage


class LeasingBroker(dramatiq.Broker):
    """A broker whose messages are held for a time on the server's ``clock``, and lost to others after it."""

    clock: ServerClock

    @abstractmethod
    def may_start(self, message: StreamMessage) -> bool:
        """Whether a message that was handed out may still be run here; asks the server if its lease may have lapsed.

        ``False``: another worker has it, or it will be fetched again. Its end here then changes nothing.
        """
