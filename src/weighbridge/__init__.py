"""FastAPI background tasks that land where they belong: in process after the response, or on a Dramatiq queue."""

from weighbridge import errors
from weighbridge._version import __version__
from weighbridge.background import BackgroundTasks, DecisionHeaderMiddleware
from weighbridge.call import Ticket
from weighbridge.call_log_filter import CallLogFilter
from weighbridge.decision import Decision, Facts, Lane
from weighbridge.declaration import DeclarationWarning, task
from weighbridge.dispatcher import Dispatcher
from weighbridge.errors import WeighbridgeError
from weighbridge.policy import Explanation, Policy
from weighbridge.run import CurrentCall, current_call
from weighbridge.settings import Settings
from weighbridge.task import Weight

__all__ = [
    "BackgroundTasks",
    "CallLogFilter",
    "CurrentCall",
    "Decision",
    "DecisionHeaderMiddleware",
    "DeclarationWarning",
    "Dispatcher",
    "Explanation",
    "Facts",
    "Lane",
    "Policy",
    "Settings",
    "Ticket",
    "WeighbridgeError",
    "Weight",
    "__version__",
    "current_call",
    "errors",
    "task",
]
