"""The in-process lane: runs accepted calls in this process, beside the requests and never inside one."""

from weighbridge.lanes.in_process.chain import Chain
from weighbridge.lanes.in_process.counts import CallFailure, InProcessCounts
from weighbridge.lanes.in_process.drain import HandedOver, HandOver
from weighbridge.lanes.in_process.lane import InProcessLane, waits_for_itself
from weighbridge.lanes.in_process.runner import OnError

__all__ = [
    "CallFailure",
    "Chain",
    "HandOver",
    "HandedOver",
    "InProcessCounts",
    "InProcessLane",
    "OnError",
    "waits_for_itself",
]
