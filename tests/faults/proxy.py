"""A TCP proxy before the server: passes, falls silent, refuses, cuts, and eats the reply to a chosen command.

It runs on an event loop of its own thread, on a port that the system assigns, and understands just enough of the
protocol (``resp.py``) to know which command a reply belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from tests.faults.resp import end_of, is_push, words_of

CHUNK: Final = 65_536
WAIT_S: Final = 10.0
#: Closing with this makes the kernel send a reset instead of a proper end.
_RESET: Final = struct.pack("ii", 1, 0)

Matches = Callable[[Sequence[bytes]], bool]


@dataclass(slots=True, kw_only=True)
class Appetite:
    """Which replies to eat: of commands that ``matches``, that hold ``holding``, after ``skip`` that pass, ``count``.

    A reply that is an error is passed on and not counted: its command was not executed. ``eaten`` are the commands
    whose replies were eaten.
    """

    matches: Matches
    holding: bytes = b""
    skip: int = 0
    count: int = 1
    half: bool = False
    eaten: list[Sequence[bytes]] = field(default_factory=list)

    def wants(self, command: Sequence[bytes], reply: bytes) -> bool:
        """Whether this reply is to be eaten; counts it."""
        if len(self.eaten) >= self.count or reply.startswith((b"-", b"!")):
            return False
        if self.holding not in reply or not self.matches(command):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.eaten.append(command)
        return True


class Proxy:
    """A proxy before ``127.0.0.1:upstream_port``. Faults are set from any thread and hold until they are taken back."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self._upstream_port = upstream_port
        self._appetite: Appetite | None = None
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._listener: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.flowing = asyncio.Event()

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self._call(self._listen())
        self._loop.call_soon_threadsafe(self.flowing.set)

    def stop(self) -> None:
        """Close all, and end the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- faults ---------------------------------------------------------------------------------------------

    def silence(self) -> None:
        """Hold all bytes, both ways; connections stay, new ones are taken. What was held comes later, as from a net."""
        self._loop.call_soon_threadsafe(self.flowing.clear)

    def speak(self) -> None:
        """The end of the silence."""
        self._loop.call_soon_threadsafe(self.flowing.set)

    def refuse(self) -> None:
        """Listen no more, and reset what is open."""
        self._call(self._refuse())

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._call(self._listen())

    def reset(self) -> None:
        """Reset what is open; new connections are taken."""
        self._call(self._reset())

    def eat(self, appetite: Appetite) -> Appetite:
        """Eat replies from now on: the command was executed, its client sees a reset (``half``: half a reply first)."""
        self._appetite = appetite
        return appetite

    def pass_all(self) -> None:
        """Eat nothing any more."""
        self._appetite = None

    # -- on the loop ----------------------------------------------------------------------------------------

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_S)

    async def _listen(self) -> None:
        # No server of asyncio's and no task that accepts: closed, it drops a connection that it has just taken.
        listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        listener.setblocking(False)
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        self._loop.add_reader(listener, self._take, listener)

    def _take(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # it has gone again
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._serve(connection))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _reset(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _close(self) -> None:
        await self._refuse()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            await self.flowing.wait()
            upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            _reset(writer)
            return
        except asyncio.CancelledError:
            writer.close()
            raise
        link = _Link(proxy=self, client=(reader, writer), server=upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def wants(self, command: Sequence[bytes], reply: bytes) -> bool:
        """Whether the reply to this command is to be eaten."""
        return self._appetite is not None and self._appetite.wants(command, reply)

    @property
    def halves(self) -> bool:
        """Whether a reply that is eaten is cut in half."""
        return self._appetite is not None and self._appetite.half


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One client's connection and its counterpart to the server."""

    def __init__(self, *, proxy: Proxy, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._commands: deque[bytes] = deque()

    async def run(self) -> None:
        """Pump both ways until one side ends."""
        pumps = [asyncio.create_task(self._ask()), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for _, writer in (self._client, self._server):
                writer.close()

    def reset(self) -> None:
        """Reset the client's connection; the server's is closed."""
        _reset(self._client[1])
        self._server[1].close()

    async def _ask(self) -> None:
        """From the client to the server."""
        waiting = bytearray()
        with contextlib.suppress(OSError):
            while data := await self._client[0].read(CHUNK):
                waiting += data
                at = 0
                while at < len(waiting) and (end := end_of(waiting, at)) is not None:
                    self._commands.append(bytes(waiting[at:end]))
                    at = end
                del waiting[:at]
                await self._proxy.flowing.wait()
                self._server[1].write(data)
                await self._server[1].drain()

    async def _answer(self) -> None:
        """From the server to the client, reply by reply."""
        waiting = bytearray()
        with contextlib.suppress(OSError):
            while data := await self._server[0].read(CHUNK):
                waiting += data
                at = 0
                while at < len(waiting) and (end := end_of(waiting, at)) is not None:
                    reply = bytes(waiting[at:end])
                    if not is_push(reply):
                        command = words_of(self._commands.popleft())
                        if self._proxy.wants(command, reply):
                            await self._send(
                                bytes(waiting[:at]) + (reply[: len(reply) // 2] if self._proxy.halves else b"")
                            )
                            self.reset()
                            return
                    at = end
                done = bytes(waiting[:at])
                del waiting[:at]
                await self._send(done)

    async def _send(self, data: bytes) -> None:
        await self._proxy.flowing.wait()
        if data:
            self._client[1].write(data)
            await self._client[1].drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
