"""``python -m tests.promises.table``: runs every probe against every broker, and writes the table into its page."""

from __future__ import annotations

import re
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.promises.probes import CHEAP, LONG, Probe
from tests.promises.standing import Kind, Standing

from weighbridge.embedded import EmbeddedServer

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "brokers.md"
BEGIN, END = "<!-- from here on written by tests/promises -->", "<!-- up to here -->"


def outcome(probe: Probe, kind: Kind, *, redis_url: str) -> str:
    standing = Standing(kind, redis_url=redis_url)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return probe(standing, Path(folder))
    finally:
        standing.clear()


def row(title: str, outcomes: list[str]) -> str:
    return f"| {' | '.join([title, *outcomes])} |"


def rows_of_the_page() -> list[str]:
    return [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


def main() -> None:
    lines = [row("", [*Kind]), f"|---{'|---' * len(Kind)}|"]
    with EmbeddedServer.start() as server:
        for title, probe in {**CHEAP, **LONG}.items():
            lines.append(row(title, [outcome(probe, kind, redis_url=server.url) for kind in Kind]))
            print(lines[-1], flush=True)
        redis_version = Standing(Kind.STREAMS, redis_url=server.url).client.info("server")["redis_version"]
    versions = f"Run with dramatiq {version('dramatiq')}, redis-py {version('redis')}, Redis {redis_version}."
    text = PAGE.read_text(encoding="utf-8")
    table = "\n".join([BEGIN, "", *lines, "", versions, "", END])
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
