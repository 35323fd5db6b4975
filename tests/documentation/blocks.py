"""The fenced code blocks of a Markdown page, each with its language, title and place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w+-]*) *(?P<rest>.*)$")
_TITLE = re.compile(r'title="(?P<title>[^"]+)"')
_NOT_RUN = re.compile(r"^ *<!-- not run: (?P<why>.+) -->$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block. ``line`` is that of its first line of code, from 1; ``title`` the file that it belongs to, if any."""

    page: Path
    line: int
    language: str
    title: str | None
    code: str
    not_run: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that a reader may open: those at the root, the site's, and the examples'."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]
    return sorted(found)


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in their order.

    :raises ValueError: if a fence is not closed.
    """
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        start, indent = number, len(fence["indent"])
        while number < len(lines) and lines[number].strip() != fence["ticks"]:
            number += 1
        if number == len(lines):
            raise ValueError(f"{page}:{start}: this block is not closed")
        title = _TITLE.search(fence["rest"])
        comment = _NOT_RUN.match(lines[start - 2]) if start > 1 else None
        yield Block(
            page=page,
            line=start + 1,
            language=fence["language"],
            title=title["title"] if title else None,
            code="".join(f"{line[indent:]}\n" for line in lines[start:number]),
            not_run=comment["why"] if comment else None,
        )
        number += 1


def prose_of(page: Path) -> str:
    """A page without its blocks."""
    kept = page.read_text(encoding="utf-8").splitlines()
    for block in blocks_of(page):
        for number in range(block.line - 2, block.line + block.code.count("\n")):
            kept[number] = ""
    return "\n".join(kept)
