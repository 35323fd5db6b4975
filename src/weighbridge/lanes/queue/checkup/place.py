"""The place of a server: whether it is this machine, which no network lies between."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any


def is_local(options: Mapping[str, Any]) -> bool:
    """Whether a Redis client with these options of its connections talks to this machine.

    Without a host the place is what Sentinels name, which may be anywhere.
    """
    return "path" in options or is_loopback(str(options.get("host", "by-sentinel")))


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its name or its address. Names are not looked up."""
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
