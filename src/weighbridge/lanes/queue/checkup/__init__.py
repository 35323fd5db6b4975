"""The checkup of a broker: reading (what servers say), findings (what it means), and the examination of both."""

from __future__ import annotations

from weighbridge.lanes.queue.checkup.examination import App, Examination, examine, reach
from weighbridge.lanes.queue.checkup.finding import Finding, Promise, Severity
from weighbridge.lanes.queue.checkup.start_check import StartCheck

__all__ = ["App", "Examination", "Finding", "Promise", "Severity", "StartCheck", "examine", "reach"]
