"""The memory of a waiting call: weighbridge, and stock ``BackgroundTasks`` beside it.

    python tests/benchmarks/bench_memory.py [--calls 10000] [--write]

Real requests to a uvicorn process add calls of which none ends. The process's memory before and after is measured in
two ways, each in a process of its own: what Python's allocators have given out (``tracemalloc``), and what the system
counts as resident (Linux). Exits with 1 if a waiting call of weighbridge takes more than 4,000 bytes by either.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import figures
from tests.benchmarks.bench_waiting import SIDES, drain
from tests.benchmarks.open_load import Client
from tests.benchmarks.processes import service

TARGET_BYTES: Final = 4_000
CONNECTIONS: Final = 16
#: Before the first look, so that what is made once for a process is there.
WARM_UP: Final = 1_000
#: Each way of measuring, and what its process has in its environment.
WAYS: Final[Mapping[str, Mapping[str, str]]] = {"traced": {"PYTHONTRACEMALLOC": "1"}, "resident": {}}


async def bytes_of_a_call(side: str, way: str, calls: int, folder: Path) -> float:
    """The bytes that each of so many waiting calls takes."""
    environment = {"WAITING_NAP_S": "3600", **WAYS[way]}
    if side == "weighbridge":
        environment |= {"WEIGHBRIDGE_DRAIN_TIMEOUT_S": "0.1", "WEIGHBRIDGE_IN_PROCESS_WAITING": str(calls + WARM_UP)}
    app = f"tests.benchmarks.waiting_app:{SIDES[side]}"
    with service(app, environment=environment, log=folder / f"{SIDES[side]}-{way}.log") as web:
        async with Client(web.port) as client:

            async def add(count: int) -> None:
                statuses = await client.statuses(
                    "POST", (f"/calls/{1000 + call}" for call in range(count)), connections=CONNECTIONS
                )
                assert set(statuses) == {202}, "a request was refused"

            await add(WARM_UP)
            await drain(client)
            before = (await client.json("GET", "/memory"))[way]
            await add(calls)
            assert (await client.json("GET", "/counts"))["waiting"] == calls
            after = (await client.json("GET", "/memory"))[way]
            await drain(client)
    taken = (after - before) / calls
    print(f"{side}, {way}: {taken:,.0f} bytes a call", flush=True)
    return float(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--write", action="store_true", help="keep the figures, and write docs/reference/figures.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            side: {way: asyncio.run(bytes_of_a_call(side, way, arguments.calls, Path(folder))) for way in WAYS}
            for side in SIDES
        }
    return figures.report(
        figures.Figures(
            name="memory",
            columns=("side", "tracemalloc", "resident memory"),
            rows=[[side, *(f"{taken:,.0f} bytes" for taken in each.values())] for side, each in found.items()],
            found=[f"{arguments.calls:,} calls of a sync task with one small argument, and as many requests."],
            missed=[
                f"{taken:,.0f} bytes a call by {way}, and it may be {TARGET_BYTES:,}"
                for way, taken in found["weighbridge"].items()
                if taken > TARGET_BYTES
            ],
        ),
        write=arguments.write,
    )


if __name__ == "__main__":
    sys.exit(main())
