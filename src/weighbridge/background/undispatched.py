"""Calls where no dispatcher is open: what may stay stays, and what must be queued is refused."""

from __future__ import annotations

from typing import Final

from weighbridge.chooser import Chooser
from weighbridge.task import registry

#: Chooses without a policy and without a queue.
chooser: Final = Chooser(registry=registry, policy=None)
