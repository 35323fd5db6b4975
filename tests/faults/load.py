"""The load: requests over real connections, each an attempt in the account, with what its client learned."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.faults.account import Answer, Attempt
from tests.faults.work import Kind

CONNECTIONS: Final = 16
CLIENT_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; ``call`` is the id under which its call is counted."""

    call: str
    kind: Kind = Kind.PLAIN
    ms: int = 0
    delay_ms: int = 0
    path: str = ""

    def text(self) -> bytes:
        """The request on the wire."""
        path = self.path or f"/calls/{self.call}?kind={self.kind}&ms={self.ms}&delay_ms={self.delay_ms}"
        method = "GET" if path in ("/other", "/lag") else "POST"
        return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n".encode()


class Load:
    """Requests in their order, from a thread of their own, over 16 kept connections.

    :param per_s: Requests that start in a second, evenly spread and whatever the answers do (an open load), or
        ``None``: each connection sends its next request when it has its answer.
    """

    def __init__(self, port: int, requests: Iterable[Request], *, per_s: float | None = None) -> None:
        self.attempts: list[Attempt] = []
        self._port = port
        self._requests = iter(requests)
        self._per_s = per_s
        self._stopped = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fault-load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send no further requests, and wait for the answers that are due."""
        self._stopped = True
        self.join()

    def join(self, within_s: float = 600.0) -> None:
        """Wait until all requests are answered."""
        self._thread.join(within_s)
        assert not self._thread.is_alive(), "the load does not end"

    @property
    def running(self) -> bool:
        """Whether there are requests to come, or answers."""
        return self._thread.is_alive()

    async def _run(self) -> None:
        turns = self._turns()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._connection(turns))

    def _turns(self) -> Iterator[tuple[float, Request]]:
        """Each request with the time at which it is to start."""
        start_s = time.monotonic()
        for number, request in enumerate(self._requests):
            if self._stopped:
                return
            yield (start_s + number / self._per_s if self._per_s else 0.0), request

    async def _connection(self, turns: Iterator[tuple[float, Request]]) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for at_s, request in turns:
            if (wait_s := at_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            sent_at_s = time.monotonic()
            status, head = 0, b""
            try:
                async with asyncio.timeout(CLIENT_TIMEOUT_S):
                    if streams is None:
                        streams = await asyncio.open_connection("127.0.0.1", self._port)
                    status, head = await _exchange(*streams, request)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                if streams is not None:
                    streams[1].close()
                streams = None
            self.attempts.append(
                Attempt(
                    call=request.call,
                    answer=_answer(status, head),
                    status=status,
                    sent_at_s=sent_at_s,
                    took_s=time.monotonic() - sent_at_s,
                )
            )
        if streams is not None:
            streams[1].close()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> tuple[int, bytes]:
    writer.write(request.text())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split(b" ")[1]), head


def _answer(status: int, head: bytes) -> Answer:
    if 200 <= status < 300:
        return Answer.ACCEPTED
    if b"\r\nweighbridge-enqueued: no\r\n" in head:
        return Answer.REFUSED
    return Answer.UNKNOWN
