"""The load: requests that add calls, each over a connection of its own, with what its client learned."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.shutdown.account import CALL_ID
from tests.shutdown.work import Kind

#: Seconds after which a client gives its request up.
CLIENT_TIMEOUT_S: Final = 60.0
#: Requests that are open at one time.
OPEN_LIMIT: Final = 64
#: What the requests add, one after the other: single calls, and chains with the one that stays last or first.
MIXTURE: Final = (
    (Kind.SYNC,),
    (Kind.ASYNC,),
    (Kind.STAYING,),
    (Kind.SYNC, Kind.ASYNC, Kind.STAYING),
    (Kind.STAYING, Kind.SYNC, Kind.ASYNC),
)


class End(StrEnum):
    """How a request ended, as its client sees it."""

    ANSWERED = "answered"
    """With a whole response of 2xx."""
    DECLINED = "declined"
    """With another status."""
    REFUSED = "refused"
    """Nobody took the connection."""
    CUT = "cut"
    """The connection was taken, and ended before the response did."""


@dataclass(slots=True, kw_only=True)
class Request:
    """One request: what it adds, when it was sent (monotonic seconds), the ids of its calls as they are known."""

    kinds: Sequence[Kind]
    sent_at_s: float
    streams: bool = False
    calls: list[str] = field(default_factory=list)
    end: End | None = None

    def text(self) -> bytes:
        """The request on the wire."""
        kinds = "&".join(f"kinds={kind}" for kind in self.kinds)
        path = "/streams" if self.streams else "/calls"
        head = f"POST {path}?{kinds} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
        return head.encode()


class Load:
    """Requests from a thread of their own, until it is told to stop.

    :param per_s: Requests that start in a second, whatever the answers do.
    :param lopsided: All over one connection, so that one of a server's processes gets them all; none after its end.
    """

    def __init__(self, port: int, *, per_s: float, lopsided: bool = False) -> None:
        self.requests: list[Request] = []
        self._port = port
        self._per_s = per_s
        self._lopsided = lopsided
        self._stopped = threading.Event()
        self._streams: list[Request] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="shutdown-load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add_streams(self, count: int) -> list[Request]:
        """Open some streaming requests besides; the caller waits until each knows its calls."""
        kinds = itertools.cycle(MIXTURE)
        streams = [Request(kinds=next(kinds), sent_at_s=time.monotonic(), streams=True) for _ in range(count)]
        self.requests += streams
        self._streams += streams
        return streams

    def stop(self) -> None:
        """Start no further requests, and wait for the ends of those that are open."""
        self._stopped.set()
        self._thread.join(2 * CLIENT_TIMEOUT_S)
        assert not self._thread.is_alive(), "the load does not end"

    def accepted(self) -> dict[str, Kind]:
        """The calls whose ids came with a 2xx response, whether or not its end came too."""
        return {call: kind for each in list(self.requests) for call, kind in zip(each.calls, each.kinds, strict=False)}

    def ends(self, *, after_s: float) -> Counter[End]:
        """How the requests ended that were sent after a moment."""
        return Counter(each.end for each in self.requests if each.end is not None and each.sent_at_s >= after_s)

    def cut_before(self, at_s: float) -> int:
        """How many requests that were open at a moment ended without a whole response."""
        return sum(each.end is End.CUT and each.sent_at_s < at_s for each in self.requests)

    async def _run(self) -> None:
        clients = _Clients(self._port, open_limit=1 if self._lopsided else OPEN_LIMIT, kept=self._lopsided)
        async with asyncio.TaskGroup() as group:
            for kinds in itertools.cycle(MIXTURE):
                await asyncio.sleep(1 / self._per_s)
                while self._streams:
                    group.create_task(clients.send(self._streams.pop()))
                await clients.free.acquire()
                if self._stopped.is_set() or clients.lost:
                    break
                request = Request(kinds=kinds, sent_at_s=time.monotonic())
                self.requests.append(request)
                group.create_task(clients.send(request)).add_done_callback(lambda _: clients.free.release())
        clients.close()


class _Clients:
    """Connections to one server. ``kept``: one, for all requests but the streaming ones."""

    def __init__(self, port: int, *, open_limit: int, kept: bool) -> None:
        #: Whether the connection that was to be kept has ended.
        self.lost = False
        self.free = asyncio.Semaphore(open_limit)
        self._port = port
        self._kept = kept
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> None:
        """Send a request, and note what comes of it."""
        try:
            reader, writer = self._connection or await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            request.end = End.REFUSED
            return
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                request.end = await _exchange(reader, writer, request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            request.end = End.CUT
        if self._kept and not request.streams and request.end is not End.CUT:
            self._connection = reader, writer
            return
        if self._kept and not request.streams:
            self._connection, self.lost = None, True
        writer.close()

    def close(self) -> None:
        """Close what was kept."""
        if self._connection is not None:
            self._connection[1].close()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> End:
    """Send a request and read its response; the ids of its calls are noted as soon as they are there."""
    writer.write(request.text())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    accepted = 200 <= int(head.split(b" ", 2)[1]) < 300
    length = re.search(rb"\r\ncontent-length: *(\d+)", head)
    if length is not None:
        body = await reader.readexactly(int(length.group(1)))
        request.calls = CALL_ID.findall(body.decode()) if accepted else []
        return End.ANSWERED if accepted else End.DECLINED
    body = b""
    while part := await reader.read(65_536):
        body += part
        request.calls = CALL_ID.findall(body.decode()) if accepted else []
        if body.endswith(b"\r\n0\r\n\r\n"):
            return End.ANSWERED if accepted else End.DECLINED
    return End.CUT
