"""The queue lane: calls on their way to Dramatiq workers, through a broker."""

from __future__ import annotations

from weighbridge.lanes.queue.actor import TypedActor, bind
from weighbridge.lanes.queue.connect import connect, describe
from weighbridge.lanes.queue.lane import QueueLane
from weighbridge.lanes.queue.running_message import let_messages_be_found
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.lanes.queue.worker_end import AfterWorker
from weighbridge.lanes.queue.writer_choice import check_broker

__all__ = [
    "AfterWorker",
    "QueueLane",
    "StreamsBroker",
    "TypedActor",
    "bind",
    "check_broker",
    "connect",
    "describe",
    "let_messages_be_found",
]
