"""CPU time that the loop sampler and its guard take of a service, as a share of one core.

    python tests/benchmarks/bench_loop_guard.py [--rounds 15] [--seconds 2]

Starts one uvicorn process and measures its CPU time, all threads, with and without the sampler, in turn: idle, under a
steady load, under as many requests as it can answer, and while a call blocks the loop, which the guard then looks at
all the time. Prints the medians of the differences, and what the sampler's own thread took. Under load what a request
takes varies by more than the difference, and a process that is busy all the time takes no more; there the thread's is
the figure, and the loop's answers to its 20 questions a second come to that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.bench_requests import Server, load, ready, serving

TARGET = 0.01
STEADY_PER_S = 200

#: Loads a server for some seconds.
Load = Callable[[Server, float], Awaitable[None]]


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, server: Server) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def get(self, path: str) -> object:
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head.decode())
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        return json.loads(await self._reader.readexactly(int(length.split(b":")[1])))


async def idle(server: Server, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def steady(server: Server, seconds: float) -> None:
    connection = await Connection.to(server)
    answered, begun_at_s = 0, time.perf_counter()
    while answered < seconds * STEADY_PER_S:
        await asyncio.sleep(max(0.0, begun_at_s + answered / STEADY_PER_S - time.perf_counter()))
        await connection.get("/work")
        answered += 1


async def busy(server: Server, seconds: float) -> None:
    await load(server.port, "work", seconds)


async def blocked(server: Server, seconds: float) -> None:
    connection = await Connection.to(server)
    for _ in range(round(seconds)):
        await connection.get("/block")


async def cpu_s(server: Server, switch: str, run: Load, seconds: float) -> tuple[float, float]:
    """The server's CPU time meanwhile, and what of it the sampler's thread has taken."""
    control = await Connection.to(server)
    if switch == "on":
        await control.get("/on")
    before = float(str(await control.get("/cpu")))
    await run(server, seconds)
    after = float(str(await control.get("/cpu")))
    of_thread = float(str(await control.get("/off"))) if switch == "on" else 0.0
    return after - before, of_thread


async def compare(rounds: int, seconds: float) -> bool:
    reached = True
    with serving("loop_guard_app:app") as server:
        await ready(server.port)
        await steady(server, 1)
        for run in (idle, steady, busy, blocked):
            shares: list[float] = []
            without: list[float] = []
            of_thread: list[float] = []
            for number in range(rounds):
                seen: dict[str, float] = {}
                for switch in ("off", "on") if number % 2 else ("on", "off"):
                    seen[switch], took_s = await cpu_s(server, switch, run, seconds)
                    of_thread += [took_s / seconds] if switch == "on" else []
                shares.append((seen["on"] - seen["off"]) / seconds)
                without.append(seen["off"] / seconds)
            low, _, high = statistics.quantiles(shares, n=4)
            median = statistics.median(shares)
            thread = statistics.median(of_thread)
            reached &= (median if run in (idle, blocked) else thread) <= TARGET
            print(
                f"{run.__name__:>8}: the process takes {statistics.median(without):6.2%} of a core without, and "
                f"{median:6.2%} more with it (quartiles {low:.2%} to {high:.2%}), of which its thread {thread:.2%}; "
                f"target {TARGET:.0%}",
                flush=True,
            )
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(compare(arguments.rounds, arguments.seconds)) else 1)


if __name__ == "__main__":
    main()
