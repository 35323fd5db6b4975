"""The page of figures is made from what was measured, and hides no miss."""

from __future__ import annotations

import pytest
from tests.benchmarks.figures import EXCERPTS, PAGE, SECTIONS, Figures, page, stored, with_excerpt

FOUND = Figures(
    name="memory",
    columns=("side", "resident memory"),
    rows=[["weighbridge", "700 bytes"]],
    found=["10 calls."],
    missed=[],
    provenance="`python`, 2026-01-31: 2 cores; Python.",
)


def test_the_page_is_what_was_measured() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(stored()), "run the programs in tests/benchmarks with --write"


@pytest.mark.parametrize("name", EXCERPTS)
def test_a_page_that_shows_a_part_of_a_table_shows_what_was_measured(name: str) -> None:
    text = EXCERPTS[name][0].read_text(encoding="utf-8")

    assert with_excerpt(text, stored()[name]) == text, "run the programs in tests/benchmarks with --write"


def test_a_page_without_a_place_for_its_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the figures of protect-latency"):
        with_excerpt("# Protect latency\n", stored()["protect-latency"])


def test_all_programs_of_the_page_were_measured_and_missed_nothing() -> None:
    assert stored().keys() == SECTIONS.keys()
    assert {name: each.missed for name, each in stored().items() if each.missed} == {}


def test_a_section_tells_the_table_the_sentences_and_where_it_was_measured() -> None:
    text = page({"memory": FOUND})

    assert text.endswith(
        "| side | resident memory |\n| --- | --- |\n| weighbridge | 700 bytes |\n\n"
        "10 calls.\n\n`python`, 2026-01-31: 2 cores; Python.\n"
    )


def test_a_missed_target_is_told() -> None:
    missed = Figures(name="memory", columns=(), rows=[], found=[], missed=["5,000 bytes a call"])

    assert "**Missed**: 5,000 bytes a call." in page({"memory": missed})
