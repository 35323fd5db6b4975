"""A real uvicorn on a thread of this process, and clients over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import uvicorn
from starlette.types import ASGIApp

PATIENCE_S = 20


@contextmanager
def uvicorn_serving(app: ASGIApp, **options: Any) -> Iterator[int]:
    """Serve an app with uvicorn's ``options``; gives the port. At the end it stops as by SIGTERM."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # a port that the system assigns
    listener.bind(("127.0.0.1", 0))
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(uvicorn.Config(app, log_config=None, access_log=False, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="uvicorn")
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        server.force_exit = thread.is_alive()  # or it would keep this process alive after a test that failed
        assert not server.force_exit


def post(port: int, path: str = "/") -> tuple[int, bytes]:
    """One request on a connection of its own, read to the end; the status and the body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("POST", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def connected(port: int, path: str = "/") -> Iterator[socket.socket]:
    """A client that has asked and reads as much of the answer as it likes; at the end it is gone."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        yield client


def read_until(client: socket.socket, text: bytes) -> None:
    """Read the answer up to ``text``."""
    read = b""
    while text not in read:
        part = client.recv(65_536)
        assert part, read
        read += part
