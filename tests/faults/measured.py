"""What the long form has measured: kept in ``measured.json`` and told in ``docs/reference/faults.md``, fault by fault.

Faults may be measured on different days: each keeps where, when and with what it was.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import redis
from tests.faults.rig import Rig
from tests.faults.trial import Result

FILE: Final = Path(__file__).with_name("measured.json")
#: Under which the calls a second are kept, beside the faults.
THROUGHPUT: Final = "throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a measurement: calls by what became of them, figures, and what did not hold."""

    name: str
    counted: Mapping[str, int]
    figures: Mapping[str, str]
    broken: Sequence[str]
    took_s: float

    @classmethod
    def of(cls, result: Result) -> Self:
        """From the result of a trial."""
        counted = {name: count for name, count in result.account.figures().items() if count}
        took_s = round(result.took_s, 1)
        return cls(
            name=result.side, counted=counted, figures=result.figures, broken=list(result.problems), took_s=took_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One fault on the sides on which it was run: weighbridge first."""

    day: str
    machine: str
    versions: str
    command: str
    sides: Sequence[Side]


def measurement(sides: Sequence[Side], *, client: redis.Redis, command: str) -> Measurement:
    """A measurement made just now, on this machine."""
    information: Any = client.info("server")
    broker = "Valkey" if "valkey_version" in information else "Redis"
    server = information.get("valkey_version", information["redis_version"])
    versions = ", ".join(
        [
            f"Python {platform.python_version()}",
            *(f"{name} {importlib.metadata.version(name)}" for name in ("weighbridge", "dramatiq", "fastapi")),
            f"redis-py {importlib.metadata.version('redis')}",
            f"{broker} {server}",
        ]
    )
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return Measurement(day=day, machine=machine(), versions=versions, command=command, sides=sides)


def stored() -> dict[str, Measurement]:
    """All measurements by the name of their fault, and the throughput."""
    if not FILE.exists():
        return {}
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: Measurement(**{**each, "sides": [Side(**side) for side in each["sides"]]})
        for name, each in content.items()
    }


def store(name: str, found: Measurement) -> None:
    """Keep one, in place of an older one."""
    kept = {**stored(), name: found}
    content = {name: asdict(each) for name, each in sorted(kept.items())}
    FILE.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def results_of(rigs: Sequence[Rig], results: Sequence[Result], *, name: str, seed: int) -> Measurement:
    """The measurement of one fault."""
    command = f"python -m tests.faults --long --only {name}" + (f" --seed {seed}" if seed != 1 else "")
    return measurement([Side.of(each) for each in results], client=rigs[0].client, command=command)


def machine() -> str:
    """What it was measured on, in a line."""
    cores = os.cpu_count()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores} cores, {memory_gib:.0f} GiB, {_system()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"(?m)^model name\s*:\s*(.+)$", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found.group(1).strip() if found else platform.machine()


def _system() -> str:
    if sys.platform != "linux":
        return platform.platform(terse=True)
    return str(platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"))
