"""An event is one log line, with its data on the record and the place from which it was told."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from weighbridge.events import emit

logger = logging.getLogger("shop.events")

with_and_without_a_stack = pytest.mark.parametrize("stack", [None, "Stack (most recent call last):\n  pay"])


def told(tell: Callable[[], None], caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    tell()
    [record] = caplog.records
    return record


@with_and_without_a_stack
def test_an_event_is_told_from_the_line_that_emits_it(caplog: pytest.LogCaptureFixture, stack: str | None) -> None:
    def pay() -> None:
        emit(logger, "shop.paid", level=logging.WARNING, stack=stack, order=7)

    record = told(pay, caplog)

    assert (record.filename, record.funcName) == ("test_events.py", "pay")
    assert (record.lineno, record.stack_info) == (pay.__code__.co_firstlineno + 1, stack)
    assert record.getMessage() == "shop.paid order=7"
    assert vars(record).items() >= {("event", "shop.paid"), ("order", 7)}


@with_and_without_a_stack
def test_an_event_below_the_level_of_its_logger_is_not_told(
    caplog: pytest.LogCaptureFixture, stack: str | None
) -> None:
    caplog.set_level(logging.ERROR, logger=logger.name)
    caplog.handler.setLevel(logging.NOTSET)  # which takes what it gets

    emit(logger, "shop.paid", level=logging.WARNING, stack=stack)

    assert caplog.records == []
