"""The call's id on log records: a filter for logging's handlers."""

from __future__ import annotations

import logging
from typing import Final

from weighbridge.run import running_call

#: What stands on a record where no task runs: text, for a ``%(call_id)s`` takes anything, and a terminal shows it.
OUTSIDE: Final = "-"


class CallLogFilter(logging.Filter):
    """Puts ``call_id``, ``task``, ``attempt``, ``lane`` and ``revision`` of the current call on each record; all pass.

    In ``logging.config.dictConfig``: ``{"()": "weighbridge.CallLogFilter"}``. Give it to handlers: a filter of a logger
    does not see what loggers below it log. It is for both lanes, for sync tasks and async ones. What a record has
    already stays, such as the ``call_id`` of an event of weighbridge's own; on one that names another call than the
    current one, the others are those of nobody. ``revision`` is that of the policy which chose the lane, or ``outside``
    if none did.

    :param outside: What all five are where no task runs. ``None`` suits lines of JSON.
    """

    def __init__(self, *, outside: str | None = OUTSIDE) -> None:
        super().__init__()
        self._outside = outside

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, for every handler that gets it after this; always true."""
        call = running_call()
        given = record.__dict__
        if call is None or given.get("call_id", call.id) != call.id:
            for name in ("call_id", "task", "attempt", "lane", "revision"):
                given.setdefault(name, self._outside)
        else:
            given.setdefault("call_id", call.id)
            given.setdefault("task", call.task)
            given.setdefault("attempt", call.attempt)
            given.setdefault("lane", str(call.lane))
            given.setdefault("revision", call.revision or self._outside)
        return True
