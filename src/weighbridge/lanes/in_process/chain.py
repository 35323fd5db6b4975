"""A chain: one request's calls, run in the order added, one at a time. Chains run beside each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import anyio

from weighbridge.call import Call


class Chain:
    """The calls of one request that have not ended. It belongs to its lane's loop."""

    __slots__ = ("_finished", "_left")

    def __init__(self, calls: Sequence[Call]) -> None:
        self._left = [*reversed(calls)]
        self._finished: anyio.Event | None = None

    def __iter__(self) -> Iterator[Call]:
        return reversed(self._left)

    @property
    def first(self) -> Call | None:
        """The call that runs, or is to run next; ``None`` at the end."""
        return self._left[-1] if self._left else None

    async def wait(self) -> None:
        """Return once every call of the chain has ended, however it ended."""
        if self._left:
            self._finished = self._finished or anyio.Event()
            await self._finished.wait()

    def end_first(self) -> Call | None:
        """The first call has ended; the one that is the first now."""
        left = self._left
        left.pop()
        if left:
            return left[-1]
        if self._finished is not None:
            self._finished.set()
        return None

    def drop(self, calls: Collection[Call]) -> None:
        """These calls will not run here."""
        self._left = [call for call in self._left if call not in calls]
        self._note_end()

    def give_up(self, *, running: bool) -> None:
        """None of its calls will run, or none but the first, which runs."""
        self._left = self._left[-1:] if running else []
        self._note_end()

    def _note_end(self) -> None:
        if not self._left and self._finished is not None:
            self._finished.set()
