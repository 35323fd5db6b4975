"""The page of the long form's figures is made from what was measured, and says so of every fault."""

from __future__ import annotations

from dataclasses import replace

from tests.faults.catalogue import FAULTS
from tests.faults.measured import THROUGHPUT, Measurement, Side, stored
from tests.faults.page import PAGE, page

OURS = Side(name="weighbridge", counted={"attempted": 1200, "ok": 1200}, figures={}, broken=[], took_s=61.4)
STOCK = replace(OURS, name="plain Dramatiq", figures={"kills": "20"}, broken=["52 stranded"])
FOUND = Measurement(day="2026-01-31", machine="2 cores", versions="Python", command="python", sides=[OURS, STOCK])


def test_the_page_is_what_was_measured() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(stored()), "run: python -m tests.faults --long --write"


def test_all_faults_of_the_catalogue_were_measured_and_nothing_else() -> None:
    assert stored().keys() == {fault.name for fault in FAULTS} | {THROUGHPUT}


def test_no_promise_was_broken_and_each_fault_broke_plain_dramatiq() -> None:
    for name, found in stored().items():
        ours, *stock = found.sides
        assert not ours.broken, name
        assert name == THROUGHPUT or all(side.broken for side in stock), name


def test_both_sides_of_a_fault_are_told_with_what_broke() -> None:
    text = page({FAULTS[0].name: FOUND})

    assert "- **weighbridge**, 61 s: attempted 1,200, ok 1,200. Broken: nothing." in text
    assert "- **plain Dramatiq**, 61 s: attempted 1,200, ok 1,200. Broken: 52 stranded.\n    - kills: 20" in text
    assert "2026-01-31: 2 cores; Python." in text


def test_a_fault_that_was_not_measured_is_told_as_that() -> None:
    row = next(line for line in page({}).splitlines() if line.startswith(f"| {FAULTS[0].title} |"))

    assert row.endswith("| not measured | not measured |")
