"""An open load: requests that start when they are due, whatever has become of those before them."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Some seconds of so many requests a second, at random (Poisson) moments as independent clients send them."""

    name: str
    seconds: float
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a request. ``due_at_s`` is when it was to start: to count from there hides no delay of ours."""

    number: int
    phase: str
    due_at_s: float
    answered_at_s: float
    status: int

    @property
    def took_ms(self) -> float:
        return (self.answered_at_s - self.due_at_s) * 1000


def p99(values: Sequence[float]) -> float:
    return percentile(values, 99)


def percentile(values: Sequence[float], of_hundred: int) -> float:
    """The value that so many of a hundred do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[of_hundred - 1]


class Client:
    """Connections to one service, kept and used again; a request opens another if all are in use."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for _reader, writer in self._idle:
            writer.close()

    async def request(self, method: str, path: str) -> tuple[int, bytes]:
        """The status and the body of one answer."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((line for line in lines if line.startswith(b"content-length:")), None)
        # What uvicorn refuses has no length, and ends with its connection.
        body = await (reader.read() if length is None else reader.readexactly(int(length.split(b":")[1])))
        if length is None or b"connection: close" in lines:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head.split(b" ")[1]), body

    async def json(self, method: str, path: str) -> Any:
        """The body of one answer that must be a success."""
        status, body = await self.request(method, path)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {body!r}")
        return json.loads(body)

    async def statuses(self, method: str, paths: Iterable[str], *, connections: int) -> list[int]:
        """The statuses of many requests, some at a time, each sent when an earlier one is answered."""
        left: Iterator[str] = iter(paths)
        seen: list[int] = []

        async def some() -> None:
            seen.extend([(await self.request(method, path))[0] for path in left])

        await asyncio.gather(*(some() for _ in range(connections)))
        return seen

    async def open_load(self, phases: Sequence[Phase], method: str, path: str, *, seed: int) -> list[Answer]:
        """Send requests as the phases say; ``{}`` in ``path`` stands for a request's number."""
        answers: list[Answer] = []

        async def one(number: int, phase: str, due_at_s: float) -> None:
            status, _ = await self.request(method, path.format(number))
            answers.append(
                Answer(number=number, phase=phase, due_at_s=due_at_s, answered_at_s=time.monotonic(), status=status)
            )

        start_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, (phase, after_s) in enumerate(_due(phases, seed)):
                if (wait_s := start_s + after_s - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(one(number, phase, start_s + after_s))
        return answers


def _due(phases: Sequence[Phase], seed: int) -> Iterator[tuple[str, float]]:
    """Of each request its phase, and the seconds after the start at which it is due."""
    rng = random.Random(seed)
    began_s = 0.0
    for phase in phases:
        at_s = rng.expovariate(phase.per_s)
        while at_s < phase.seconds:
            yield phase.name, began_s + at_s
            at_s += rng.expovariate(phase.per_s)
        began_s += phase.seconds
