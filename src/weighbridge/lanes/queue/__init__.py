"""The queue lane: calls on their way to Dramatiq workers, through a broker."""

from __future__ import annotations

from weighbridge.lanes.queue.actor import TypedActor, bind
from weighbridge.lanes.queue.connect import connect, describe
from weighbridge.lanes.queue.lane import QueueLane
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.lanes.queue.writer_choice import check_broker

__all__ = ["QueueLane", "StreamsBroker", "TypedActor", "bind", "check_broker", "connect", "describe"]
