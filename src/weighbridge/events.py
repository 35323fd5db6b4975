"""Log lines as events: a dotted constant name and data, readable in a terminal and by a collector alike."""

from __future__ import annotations

import logging


def emit(
    logger: logging.Logger,
    event: str,
    /,
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
    **data: object,
) -> None:
    """Log ``event``; ``data`` stands in the line as ``key=value`` and on the record under its own names.

    Argument values, passwords and addresses with passwords are never data.
    """
    if not logger.isEnabledFor(level):
        return
    shown = " ".join(f"{key}={value}" for key, value in data.items())
    logger.log(level, "%s", f"{event} {shown}".rstrip(), extra={"event": event, **data}, exc_info=error, stacklevel=2)
