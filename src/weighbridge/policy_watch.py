"""The policy watch: looks whether a policy's file has changed, and has what it holds now take over, or refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from weighbridge.errors import WeighbridgeError
from weighbridge.events import emit
from weighbridge.policy import Policy, load_policy

logger: Final = logging.getLogger("weighbridge.dispatch")

POLICY_REFUSED: Final = "dispatch.policy_refused"


class WatchedFile:
    """A file, what of it was considered, and what the last look has found."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._considered: bytes | None = None
        self._found: bytes | None = None

    def is_due(self, content: bytes) -> bool:
        """Whether what was found now (nothing: it cannot be read) is to be considered.

        What the first look finds counts as considered. Anything else is due once, when a second look finds it
        unchanged: a file that is being written is not taken half.
        """
        if self._found is None:
            self._considered = self._found = content
            return False
        settled, self._found = content == self._found, content
        if not settled or content == self._considered:
            return False
        self._considered = content
        return True


class PolicyWatch:
    """Reads a policy's file again and again, while there is one to follow.

    Contents are compared and not times: what Kubernetes mounts changes by a link, and a copy may keep its time.

    :param replace: Has a loaded policy take over, or raises why it cannot; called on the loop that :meth:`run` is on.
    :param interval_s: Seconds between two looks.
    """

    def __init__(self, *, replace: Callable[[Policy], object], interval_s: float) -> None:
        self._replace = replace
        self._interval_s = interval_s
        self._file: WatchedFile | None = None

    def follow(self, path: Path | None) -> None:
        """Look at this file from now on, or at none. On any thread."""
        self._file = None if path is None else WatchedFile(path)

    async def run(self) -> None:
        """Look until cancelled. No failure gets out: the last good policy goes on deciding."""
        while True:
            file = self._file
            if file is not None:
                content = await anyio.to_thread.run_sync(_content, file.path, abandon_on_cancel=True)
                if file.is_due(content):
                    await self._consider(file)
            await anyio.sleep(self._interval_s)

    async def _consider(self, file: WatchedFile) -> None:
        try:
            policy = await anyio.to_thread.run_sync(load_policy, file.path, abandon_on_cancel=True)
            if file is self._file:  # or another one was appointed meanwhile
                self._replace(policy)
        except Exception as error:  # noqa: BLE001  # a file must not end the watch, whatever is in it
            foreign = None if isinstance(error, WeighbridgeError) else error
            emit(logger, POLICY_REFUSED, level=logging.ERROR, error=foreign, file=str(file.path), problem=str(error))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
