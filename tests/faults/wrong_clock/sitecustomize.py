"""A process whose clock is wrong: ``time.time`` runs ``FAULTS_CLOCK_S`` seconds ahead, or behind.

Python imports a module of this name by itself when it starts, if its folder is on the path: so nothing has taken the
right clock yet. Only what Python code reads is shifted, which is all that weighbridge and Dramatiq read; a shift of
the machine's own clock needs rights that a test does not have.
"""

from __future__ import annotations

import os
import time

_shift_s = float(os.environ["FAULTS_CLOCK_S"])
_true_time = time.time
_true_time_ns = time.time_ns
time.time = lambda: _true_time() + _shift_s
time.time_ns = lambda: _true_time_ns() + int(_shift_s * 1e9)
