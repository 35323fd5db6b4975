"""A process whose clock is wrong: ``time.time`` of this process runs ``FAULTS_CLOCK_S`` seconds ahead (or behind).

Imported for its effect, before anything reads the clock. Only what Python code reads is shifted, which is all that
weighbridge and Dramatiq read; a shift of the machine's clock needs rights that a test does not have.
"""

from __future__ import annotations

import os
import time
from typing import Final

#: The variable with the seconds.
SHIFT: Final = "FAULTS_CLOCK_S"

_shift_s = float(os.environ.get(SHIFT, "0"))
_true_time = time.time
_true_time_ns = time.time_ns

if _shift_s:
    time.time = lambda: _true_time() + _shift_s
    time.time_ns = lambda: _true_time_ns() + int(_shift_s * 1e9)
