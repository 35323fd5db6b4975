"""Requests per second of a route with one no-op task: weighbridge against stock ``BackgroundTasks``.

    python tests/benchmarks/bench_requests.py [--starts 10] [--rounds 10] [--seconds 0.5]

Starts one uvicorn process for each app, loads them in turn (16 keep-alive connections, from another process), and takes
the ratio of each round, of requests per second and of the server's CPU time. A shared machine's speed drifts; within a
short round it drifts little. And two processes of one program differ by some percent for as long as they live, by how
they lie in memory: so the servers are started anew some times, and the median over all of it is the figure.
The app is as the README shows it: ``lifespan=dispatcher.lifespan, dependencies=[dispatcher.gate]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CONNECTIONS = 16
REQUEST = b"GET /%s HTTP/1.1\r\nhost: localhost\r\n\r\n"
TARGETS = {"async": 0.75, "sync": 0.85}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running uvicorn process."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """The CPU time that the process has taken, in seconds (Linux)."""
        fields = Path(f"/proc/{self.pid}/schedstat").read_text().split()
        return int(fields[0]) / 1e9


@contextmanager
def serving(app: str) -> Iterator[Server]:
    """A uvicorn process for ``app``, on a port that the system assigned."""
    code = (
        # asyncio switches Nagle's algorithm off only for a socket that says it is TCP.
        "import socket, uvicorn; s = socket.socket(proto=socket.IPPROTO_TCP); s.bind(('127.0.0.1', 0));"
        " print(s.getsockname()[1], flush=True);"
        f" uvicorn.Server(uvicorn.Config('{app}', log_level='error', access_log=False)).run(sockets=[s])"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHBRIDGE_")}
    with subprocess.Popen([sys.executable, "-c", code], cwd=HERE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        try:
            yield Server(port=int(process.stdout.readline()), pid=process.pid)
        finally:
            process.terminate()


async def load(port: int, path: str, seconds: float) -> tuple[int, float]:
    """The requests that ``port`` answers to 16 connections, and the seconds that it took."""
    answered = 0
    stop_at = time.perf_counter() + seconds

    async def connection() -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < stop_at:
            writer.write(REQUEST % path.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            answered += 1
        writer.close()

    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(connection())
    return answered, time.perf_counter() - started_at


async def ready(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise RuntimeError("the server does not answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement of one app: requests per second, and microseconds of the server's CPU time a request."""

    per_second: float
    cpu_us: float


async def measure(server: Server, path: str, seconds: float) -> Round:
    before_s = server.cpu_s()
    answered, took_s = await load(server.port, path, seconds)
    return Round(per_second=answered / took_s, cpu_us=(server.cpu_s() - before_s) / answered * 1e6)


async def measure_start(rounds: int, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """The ratios of one start of both servers, by path, a pair for each round: of requests per second, of CPU time."""
    ratios: dict[str, list[tuple[float, float]]] = {path: [] for path in TARGETS}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(serving(f"requests_app:{name}")) for name in ("stock", "ours")}
        for server in servers.values():
            await ready(server.port)
            for path in TARGETS:
                await load(server.port, path, 1)
        for path in TARGETS:
            for number in range(rounds):
                order = ("stock", "ours") if number % 2 else ("ours", "stock")
                seen = {name: await measure(servers[name], path, seconds) for name in order}
                ratios[path].append(
                    (seen["ours"].per_second / seen["stock"].per_second, seen["stock"].cpu_us / seen["ours"].cpu_us)
                )
    return ratios


async def compare(starts: int, rounds: int, seconds: float) -> bool:
    ratios: dict[str, list[tuple[float, float]]] = {path: [] for path in TARGETS}
    for number in range(starts):
        for path, of_start in (await measure_start(rounds, seconds)).items():
            ratios[path] += of_start
            per_second, cpu = (statistics.median(each) for each in zip(*of_start, strict=True))
            print(f"start {number + 1:2}, {path:>5}: requests/s {per_second:.3f}, CPU time {cpu:.3f}", flush=True)
    reached = True
    for path, target in TARGETS.items():
        per_second, cpu = ([*each] for each in zip(*ratios[path], strict=True))
        median = statistics.median(per_second)
        low, _, high = statistics.quantiles(per_second, n=4)
        reached &= median >= target
        print(f"{path:>5}  requests/s: median ratio {median:.3f}, quartiles {low:.3f} to {high:.3f}, target {target}")
        print(f"{path:>5}  CPU time a request: median ratio {statistics.median(cpu):.3f}")
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(compare(arguments.starts, arguments.rounds, arguments.seconds)) else 1)


if __name__ == "__main__":
    main()
