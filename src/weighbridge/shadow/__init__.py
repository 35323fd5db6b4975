"""The shadow policy: asked about each call, never obeyed; what it would have decided is counted, and kept."""

from weighbridge.shadow.comparison import Comparison, comparisons
from weighbridge.shadow.counter import ShadowCounter
from weighbridge.shadow.recorder import Recorder
from weighbridge.shadow.shadow import Shadow, ShadowCount
from weighbridge.shadow.store import KEPT_DAYS, ShadowStore

# The two stores are imported where one is needed: one loads Dramatiq, and not every Python has SQLite.
__all__ = [
    "KEPT_DAYS",
    "Comparison",
    "Recorder",
    "Shadow",
    "ShadowCount",
    "ShadowCounter",
    "ShadowStore",
    "comparisons",
]
