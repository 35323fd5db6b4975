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
    stack: str | None = None,
    **data: object,
) -> None:
    """Log ``event``; ``data`` stands in the line as ``key=value`` and on the record under its own names.

    Argument values, passwords and addresses with passwords are never data. ``stack`` is one of another thread, and
    becomes the record's ``stack_info``, which handlers print below the line.
    """
    if not logger.isEnabledFor(level):
        return
    shown = " ".join(f"{key}={value}" for key, value in data.items())
    text, extra = f"{event} {shown}".rstrip(), {"event": event, **data}
    if stack is None:
        logger.log(level, "%s", text, extra=extra, exc_info=error, stacklevel=2)
        return
    # Of a logger's own methods the short ones take no stack but their caller's.
    file, line, function, _ = logger.findCaller(stacklevel=2)
    logger.handle(logger.makeRecord(logger.name, level, file, line, "%s", (text,), None, function, extra, stack))
