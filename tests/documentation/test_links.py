"""Every link between pages leads somewhere, every page can be found, and tables are whole."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.documentation.blocks import ROOT, pages, prose_of

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose_of(page)):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        assert target.is_file(), f"{link}: there is no such file"
        if target.is_relative_to(DOCS) != page.is_relative_to(DOCS):
            assert not page.is_relative_to(DOCS), f"{link}: the site holds docs/ alone"
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_paths_that_a_page_names_exist(page: Path) -> None:
    for path in re.findall(r"`((?:docs|examples|policies|src|tests)/[\w./-]*)`", prose_of(page)):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_row_of_a_page_has_fallen_out_of_its_table(page: Path) -> None:
    lines = ["", *prose_of(page).splitlines(), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("|") and not before.startswith("|"):  # the head of a table
            assert re.fullmatch(r"[|\s:-]+", after), line


def test_every_page_of_the_site_is_in_its_navigation() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    listed = set(navigated(project["nav"]))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.glob("**/*.md")}


def navigated(entries: list[dict[str, object]]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            if isinstance(value, list):
                yield from navigated(value)
            else:
                yield str(value)


def anchors(page: Path) -> set[str]:
    """The ids that headings get, on the site and on code hosts alike."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), flags=re.MULTILINE)
    plain = (re.sub(r"[`*]", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}
