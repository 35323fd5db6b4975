"""The shadow policy: asked about each call, never obeyed; what it would have decided is counted, and kept."""

from weighbridge.shadow.comparison import Comparison, Evidence, evidence_of
from weighbridge.shadow.counter import ShadowCounter
from weighbridge.shadow.recorder import Recorder
from weighbridge.shadow.shadow import Shadow, ShadowCount
from weighbridge.shadow.store import KEPT_DAYS, MOST_FIELDS, ShadowStore
from weighbridge.shadow.store_choice import store_beside, store_in_file

__all__ = [
    "KEPT_DAYS",
    "MOST_FIELDS",
    "Comparison",
    "Evidence",
    "Recorder",
    "Shadow",
    "ShadowCount",
    "ShadowCounter",
    "ShadowStore",
    "evidence_of",
    "store_beside",
    "store_in_file",
]
