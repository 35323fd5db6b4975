"""Requests per second of a route with one no-op task: weighbridge against stock ``BackgroundTasks``.

    python tests/benchmarks/bench_requests.py [--rounds 7] [--seconds 2]

Starts one uvicorn process for each app, loads them in turn (16 keep-alive connections, from another process), and
prints the ratio round by round: a shared machine's speed drifts, and a ratio within a round drifts with it.
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
from pathlib import Path

HERE = Path(__file__).parent
CONNECTIONS = 16
REQUEST = b"GET /%s HTTP/1.1\r\nhost: localhost\r\n\r\n"
TARGETS = {"async": 0.75, "sync": 0.85}


@contextmanager
def serving(app: str) -> Iterator[int]:
    """A uvicorn process for ``app``; the port that the system assigned to it."""
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
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def load(port: int, path: str, seconds: float) -> float:
    """Requests per second that ``port`` answers to 16 connections."""
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
    return answered / (time.perf_counter() - started_at)


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


async def compare(rounds: int, seconds: float) -> bool:
    reached = True
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving(f"requests_app:{name}")) for name in ("stock", "ours")}
        for port in ports.values():
            await ready(port)
            await load(port, "async", 1)
            await load(port, "sync", 1)
        for path, target in TARGETS.items():
            ratios = []
            for number in range(rounds):
                order = ("stock", "ours") if number % 2 else ("ours", "stock")
                speed = {name: await load(ports[name], path, seconds) for name in order}
                ratios.append(speed["ours"] / speed["stock"])
                print(
                    f"{path:>5}  stock {speed['stock']:7.0f}/s  ours {speed['ours']:7.0f}/s  ratio {ratios[-1]:.3f}",
                    flush=True,
                )
            median = statistics.median(ratios)
            reached &= median >= target
            spread = f"from {min(ratios):.3f} to {max(ratios):.3f}"
            print(f"{path:>5}  median ratio {median:.3f}  (target ≥ {target})  {spread}")
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(compare(arguments.rounds, arguments.seconds)) else 1)


if __name__ == "__main__":
    main()
