"""The port that ``weighbridge dev`` is to listen on: whether it can, before anything is started for it."""

from __future__ import annotations

import errno
import socket

from weighbridge.cli.group import RefusedError


def require_free(host: str, port: int) -> None:
    """Listen there as uvicorn will, and let go again.

    :raises RefusedError: if another process listens there, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen()
        except OSError as error:
            raise RefusedError(_told(host, port, error)) from error


def _told(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use by another process; "
            "stop that one, or take another port: --port NUMBER (0 takes a free one)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} of {host} is not for everybody; take one from 1024 on: --port NUMBER (0 takes a free one)"
    problem = error.strerror or str(error)
    return f"cannot listen on {host!r}, port {port}: {problem}; give an address of this machine: --host ADDRESS"
