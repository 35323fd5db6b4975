"""Watching source files: a thread that looks at the times of the ``.py`` files below a folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

INTERVAL_S: Final = 0.4
#: Folders that hold other people's sources, many of them.
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


class SourceWatch:
    """Calls ``on_change`` with the changed files, on the watching thread, while entered.

    Looking (as uvicorn does without ``watchfiles``) works on every file system, and needs no package.
    """

    def __init__(self, folder: Path, *, on_change: Callable[[list[Path]], None]) -> None:
        self._folder = folder
        self._on_change = on_change
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="source-watch", daemon=True)
        self._seen = dict(_times(folder))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._leaving.wait(INTERVAL_S):
            found = dict(_times(self._folder))
            changed = [path for path, time_ns in found.items() if self._seen.get(path) != time_ns]
            changed += [path for path in self._seen if path not in found]
            self._seen = found
            if changed:
                self._on_change([Path(path) for path in sorted(changed)])


def _times(folder: Path | str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # removed or closed while we look: what was in it counts as changed
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED and not entry.name.startswith("."):
                    yield from _times(entry.path)
            elif entry.name.endswith(".py"):
                yield entry.path, entry.stat().st_mtime_ns
        except FileNotFoundError:  # removed between the listing and the look
            continue
