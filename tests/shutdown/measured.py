"""What was measured: kept in ``measured.json`` and told in ``docs/reference/servers.md``, stop by stop."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tests.shutdown.load import End
from tests.shutdown.stops import Stop
from tests.shutdown.trial import Result

FILE: Final = Path(__file__).with_name("measured.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One service's part: its calls by what became of them, its requests after the signal, its end.

    ``lifespans``: the processes whose lifespan was opened, was asked to end, and ended.
    """

    calls: Mapping[str, int]
    requests: Mapping[str, int]
    cut: int
    lifespans: Sequence[int]
    code: int
    killed: bool
    took_s: float

    @classmethod
    def of(cls, result: Result) -> Self:
        """From a result."""
        events = result.events
        return cls(
            calls=result.account.figures(),
            requests={end: result.ends.get(end, 0) for end in End},
            cut=result.cut,
            lifespans=(events.opened, events.ending, events.ended),
            code=result.exit.code,
            killed=result.exit.killed,
            took_s=round(result.exit.took_s, 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One stop of both services."""

    day: str
    machine: str
    versions: str
    ours: Side
    stock: Side


def measurement(stop: Stop, *, ours: Result, stock: Result) -> Measurement:
    """A measurement made just now, on this machine."""
    own = ["uvicorn-worker", "uvicorn"] if "--worker-class" in stop.command and "asgi" not in stop.command else []
    names = [stop.distribution, *own, "weighbridge", "fastapi", "starlette", "anyio"]
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in names]
    return Measurement(
        day=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        machine=_machine(),
        versions=", ".join(versions),
        ours=Side.of(ours),
        stock=Side.of(stock),
    )


def stored() -> dict[str, Measurement]:
    """All measurements by the name of their stop."""
    if not FILE.exists():
        return {}
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: Measurement(**{**each, "ours": Side(**each["ours"]), "stock": Side(**each["stock"])})
        for name, each in content.items()
    }


def store(name: str, found: Measurement) -> None:
    """Keep one, in place of an older one."""
    kept = {**stored(), name: found}
    content = {name: asdict(each) for name, each in sorted(kept.items())}
    FILE.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _machine() -> str:
    system = platform.freedesktop_os_release().get("PRETTY_NAME") if sys.platform == "linux" else None
    return f"{os.cpu_count()} cores, {system or platform.platform(terse=True)}"
