"""Arguments: a function's signature to plain JSON and back, and what cannot make that way."""

from __future__ import annotations

from weighbridge.arguments.codec import ArgumentCodec

__all__ = ["ArgumentCodec"]
