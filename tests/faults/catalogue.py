"""All faults, in the order in which they are run and told."""

from __future__ import annotations

from typing import Final

from tests.faults import kills
from tests.faults.trial import Fault

FAULTS: Final[tuple[Fault, ...]] = (*kills.FAULTS,)
