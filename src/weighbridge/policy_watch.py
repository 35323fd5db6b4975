"""The policy watch: looks whether a policy's file has changed, and has what it holds now take over, or refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from weighbridge.errors import PolicyError, WeighbridgeError
from weighbridge.events import emit
from weighbridge.policy import Policy, content_of, policy_from

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

        Each content is, once, when a second look has found it unchanged: a file that is being written is not taken
        half. So is the one that was there at first, since it may be another than the one that was loaded.
        """
        settled, self._found = content == self._found, content
        if not settled or content == self._considered:
            return False
        self._considered = content
        return True


class PolicyWatch:
    """Reads a policy's file again and again, while there is one to follow.

    Contents are compared and not times: what Kubernetes mounts changes by a link, and a copy may keep its time.

    :param replace: Has a policy take over if this file is still followed, or raises why it cannot; on any thread.
    :param interval_s: Seconds between two looks.
    """

    def __init__(self, *, replace: Callable[[Policy, WatchedFile], object], interval_s: float) -> None:
        self._replace = replace
        self._interval_s = interval_s
        #: The file that is followed now. It is changed by :meth:`follow` alone.
        self.file: WatchedFile | None = None

    def follow(self, path: Path | None) -> None:
        """Look at this file from now on, or at none. On any thread."""
        self.file = None if path is None else WatchedFile(path)

    async def run(self) -> None:
        """Look until cancelled. No failure gets out: the last good policy goes on deciding."""
        limiter = anyio.CapacityLimiter(1)  # of its own: the app's threads may all be taken
        while True:
            file = self.file
            if file is not None:
                await anyio.to_thread.run_sync(self._look, file, abandon_on_cancel=True, limiter=limiter)
            await anyio.sleep(self._interval_s)

    def _look(self, file: WatchedFile) -> None:
        """Blocks, and runs on a thread."""
        try:
            content = content_of(file.path)
        except PolicyError as error:
            if file.is_due(b""):
                _tell(file, error)
            return
        if file.is_due(content):
            try:
                self._replace(policy_from(content, file.path), file)
            except Exception as error:  # noqa: BLE001  # a file must not end the watch, whatever is in it
                _tell(file, error)


def _tell(file: WatchedFile, error: Exception) -> None:
    foreign = None if isinstance(error, WeighbridgeError) else error
    emit(logger, POLICY_REFUSED, level=logging.ERROR, error=foreign, file=str(file.path), problem=str(error))
