"""What happened in a test, in order.

A function that may be queued cannot close over a list of its test: a worker would not have it. So the list is here.
"""

from __future__ import annotations

happened: list[str] = []


def note(event: str) -> None:
    happened.append(event)
