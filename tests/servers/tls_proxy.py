"""TLS in front of a server, with certificates of an authority of the test's own. The client sees TLS alone."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

HOST = "127.0.0.1"
#: What the authority's certificate is for: Python checks that from 3.13 on.
USE = "-addext keyUsage=critical,keyCertSign"


def make_certificates(folder: Path) -> None:
    """``ca.pem``, and a certificate of it for :data:`HOST`: ``server.pem`` with ``server.key``."""
    commands = (
        f"req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority {USE}",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    )
    (folder / "names").write_text(f"subjectAltName=IP:{HOST}\n", encoding="utf-8")
    for each in commands:
        subprocess.run(["openssl", *each.split()], cwd=folder, check=True, capture_output=True)


class TlsProxy:
    """Speaks TLS on ``port``, and hands all to a server that does not. Asks for the client's certificate if told to."""

    def __init__(self, folder: Path, upstream: tuple[str, int], *, client_certificates: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._context.load_verify_locations(folder / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED if client_certificates else ssl.CERT_NONE
        self._upstream = upstream
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it and its connections."""
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        self._sockets.append(plain)
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:  # the client does not trust this certificate, or has none
            plain.close()
            return
        upstream = socket.create_connection(self._upstream)
        self._sockets += [client, upstream]
        threading.Thread(target=_hand_over, args=(upstream, client), daemon=True).start()
        _hand_over(client, upstream)


def _hand_over(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
