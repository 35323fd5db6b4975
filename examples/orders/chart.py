"""A bar chart as PNG, drawn pixel by pixel with the standard library: real work for a processor."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

WIDTH = 400
HEIGHT = 180
MARGIN = 12

PAPER = (250, 250, 247)
GRID = (226, 226, 220)
BAR_TOP = (38, 132, 124)
BAR_FOOT = (120, 190, 160)

Colour = tuple[int, int, int]


def bar_chart(values: Sequence[float]) -> bytes:
    """The values as bars, as the bytes of a PNG file. Takes some 150 ms of CPU time."""
    highest = max(values, default=0) or 1
    heights = [value / highest for value in values]
    rows = bytearray()
    for y in range(HEIGHT):
        rows.append(0)  # this row is not filtered
        for x in range(WIDTH):
            rows.extend(_colour(x, y, heights))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(bytes(rows), level=6)),
            _chunk(b"IEND", b""),
        )
    )


def _colour(x: int, y: int, heights: Sequence[float]) -> Colour:
    """The colour of one pixel; heights are shares of the highest bar."""
    height = (HEIGHT - MARGIN - y) / (HEIGHT - 2 * MARGIN)
    place = (x - MARGIN) / (WIDTH - 2 * MARGIN) * len(heights)
    index = int(place)
    if 0 <= place < len(heights) and 0.12 < place - index < 0.88 and 0 < height <= heights[index]:
        return _between(BAR_FOOT, BAR_TOP, height)
    on_a_line = 0 <= height <= 1 and (height * 4) % 1 < 0.02
    return GRID if on_a_line and 0 <= place < len(heights) else PAPER


def _between(low: Colour, high: Colour, share: float) -> Colour:
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
