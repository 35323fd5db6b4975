"""The cheap rows of docs/reference/brokers.md, run again: the page says what happens."""

from __future__ import annotations

import pytest
from tests.promises.probes import CHEAP, LONG
from tests.promises.standing import Kind
from tests.promises.table import outcome, row, rows_of_the_page


@pytest.mark.parametrize("title", CHEAP)
def test_the_page_says_what_each_broker_keeps(title: str, redis_url: str) -> None:
    outcomes = [outcome(CHEAP[title], kind, redis_url=redis_url) for kind in Kind]
    assert row(title, outcomes) in rows_of_the_page()


def test_the_page_has_a_row_for_each_promise_and_no_other() -> None:
    titles = [line.removeprefix("| ").split(" | ")[0] for line in rows_of_the_page()]
    assert titles[1:] == [*CHEAP, *LONG]
