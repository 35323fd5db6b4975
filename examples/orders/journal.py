"""The journal: one line for each run of a task, written by the process that ran it.

It is how this example shows what happened where. A service of yours has no need of it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def folder() -> Path:
    """Where the service keeps its files: $ORDERS_FOLDER, or a folder below the current one."""
    path = Path(os.environ.get("ORDERS_FOLDER", "orders-data"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def append(name: str, line: str) -> None:
    """Add a line to a file. One write in append mode: lines of several processes never mix."""
    with (folder() / name).open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


@contextmanager
def run(task: str, request_id: str) -> Iterator[None]:
    """Record that this process ran a task for a request, and when: at the end, and only if it succeeded."""
    started_at_s = time.time()
    yield
    append(
        "runs.jsonl",
        json.dumps(
            {
                "task": task,
                "request_id": request_id,
                "pid": os.getpid(),
                "started_at_s": started_at_s,
                "ended_at_s": time.time(),
            }
        ),
    )


def runs() -> list[dict[str, Any]]:
    """All runs so far, of all processes. A line that is just being written is left for the next reading."""
    path = folder() / "runs.jsonl"
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
