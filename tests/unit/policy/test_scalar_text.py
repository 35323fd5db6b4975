"""The plain values of a policy in code: each is told from each other one in its revision."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from tests.unit.policy.limit_policy import QUEUED, STAYS, OfItsValues

from weighbridge.decision import Lane
from weighbridge.policy import revision_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("5", 5),
        (None, "None"),
        (("a", "b"), ["a", "b"]),
        (("a", "b"), ("b", "a")),
        ({"a", "b"}, {"a", "c"}),
        ({"a": 1}, {"a": 2}),
        ({"a": [1]}, {"a": [2]}),
        (Lane.QUEUE, Lane.IN_PROCESS),
        (QUEUED, STAYS),
        (10**5_000, 10**5_000 + 1),
        (Decimal("0.5"), Decimal("0.50")),
        (Fraction(1, 3), Fraction(1, 2)),
        (range(5), range(6)),
        (timedelta(seconds=5), timedelta(seconds=6)),
        (date(2026, 1, 1), date(2026, 1, 2)),
        (time(8), time(9)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        (re.compile("mail"), re.compile("report")),
        (re.compile("mail"), re.compile("mail", re.IGNORECASE)),
        (re.compile("m" * 500), re.compile("m" * 501)),
        (re, os),
    ],
    ids=[
        "a flag",
        "a fraction",
        "a sign",
        "a text",
        "none",
        "a list",
        "an order",
        "a set",
        "a dictionary",
        "deep",
        "a member",
        "a dataclass",
        "thousands of digits",
        "a decimal",
        "a fraction of two",
        "a range",
        "a span",
        "a day",
        "an hour",
        "a time zone",
        "a pattern",
        "a pattern's flags",
        "a long pattern",
        "a module",
    ],
)
def test_plain_values_of_any_kind_are_told_apart(one: object, other: object) -> None:
    assert revision_of(OfItsValues(one)) != revision_of(OfItsValues(other))
