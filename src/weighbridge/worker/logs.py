"""How a worker's log lines reach a terminal, unless the service configures logging itself."""

from __future__ import annotations

import logging
from typing import Final

FORMAT: Final = "%(asctime)s %(levelname)-8s [%(process)d] %(message)s"


def log_to_stderr() -> None:
    """Write log lines of level INFO and above to stderr, if nobody has configured logging in this process.

    Dramatiq's own lines are kept from WARNING on: what it says below that, our events say too. Pika writes dozens of
    lines for each connection, and a failed one is logged by Dramatiq and by us.
    """
    if logging.getLogger().handlers:
        return
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    logging.getLogger("dramatiq").setLevel(logging.WARNING)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
