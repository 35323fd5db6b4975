"""The embedded server: a real Redis or Valkey for demo, dev and tests, gone when its parent is gone."""

from __future__ import annotations

from weighbridge.embedded.choice import ExternalServer, find_server
from weighbridge.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "ExternalServer", "find_server"]
