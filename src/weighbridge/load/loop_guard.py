"""The loop guard: finds the in-process call that blocks the event loop, counts it and tells of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from weighbridge.events import emit
from weighbridge.load.loop_blocks import LoopBlockCounter, LoopBlocks, name_to_keep
from weighbridge.load.loop_thread import Line, Look, shown

logger: Final = logging.getLogger("weighbridge.in_process")

LOOP_BLOCKED: Final = "in_process.loop_blocked"

#: Looks in a block that is told are at least as many; a single one may find a call in the midst of a short step.
LOOKS_NEEDED: Final = 2
#: So many looks find the shortest block that is told, but they follow one another within these bounds, in seconds.
LOOKS_PER_BLOCK: Final = 5
SHORTEST_LOOK_AGAIN_S: Final = 0.01
LONGEST_LOOK_AGAIN_S: Final = 0.05
#: A block that lasts so many seconds is told while it does.
TELL_MEANWHILE_S: Final = 2.0
#: A task is told again after so many seconds, or when its longest block has become so many times as long.
TELL_AGAIN_S: Final = 60.0
TELL_AGAIN_TIMES: Final = 2.0
#: Different stacks that are kept of one block, to tell the one that was found most often.
STACKS_KEPT: Final = 100


class _Block:
    """A stretch of time in which each look has found the same call, in seconds of the sampler's clock."""

    def __init__(self, look: Look, *, begun_at_s: float) -> None:
        self.task: Final = look.task
        self.call_id: Final = look.call_id
        self.blocked_s = 0.0
        self.looks = 0
        #: Up to when it has been looked at.
        self.seen_at_s = begun_at_s
        #: Seconds of it that are counted, and whether it was told.
        self.counted_s = 0.0
        self.told = False
        self._stacks: Counter[tuple[Line, ...]] = Counter()

    def see(self, look: Look, at_s: float, *, late_s: float) -> None:
        """Another look has found it."""
        self.looks += 1
        self.goes_on_until(at_s, late_s=late_s)
        if look.lines in self._stacks or len(self._stacks) < STACKS_KEPT:
            self._stacks[look.lines] += 1

    def goes_on_until(self, at_s: float, *, late_s: float) -> None:
        """It has lasted from the last look until now, but for the seconds by which that is ``late``."""
        self.blocked_s += max(0.0, at_s - self.seen_at_s - late_s)
        self.seen_at_s = at_s

    def stack(self) -> str:
        """The stack that most looks have found; of several the first."""
        ((lines, _),) = self._stacks.most_common(1)
        return shown(lines)


class LoopGuard:
    """Tells of in-process calls that block the event loop. Its methods belong to the sampler's thread.

    The sampler tells it while the loop does not answer, and it looks at what runs there. A call blocks the loop for as
    long as one look after another finds that call: the loop would have answered before it gave a call a second turn. So
    a call that has its short turn on a loop that others keep busy is not accused.

    Seconds by which the sampler's thread itself has woken late do not count: the machine stood still, or other threads
    had the interpreter, and they kept it from the loop as well. So beside threads that compute a block is told as
    shorter than it was, and a call of short steps is not told at all.

    :param look: What runs on the loop's thread.
    :param block_s: Seconds; what blocks the loop for less is not told.
    """

    def __init__(self, *, look: Callable[[], Look | None], block_s: float, counter: LoopBlockCounter) -> None:
        self._look = look
        self._block_s = block_s
        self._counter = counter
        self._look_again_s = min(max(block_s / LOOKS_PER_BLOCK, SHORTEST_LOOK_AGAIN_S), LONGEST_LOOK_AGAIN_S)
        self._block: _Block | None = None
        #: Whether there was a look since the loop was asked.
        self._looked = False
        #: When each task was told last, and its longest block then.
        self._told: dict[str, tuple[float, float]] = {}

    def unanswered(self, *, asked_at_s: float, now_s: float, late_s: float) -> float:
        """The loop, asked at ``asked_at_s``, has not answered yet; the seconds until it should be looked at again."""
        # The first look follows the question at once, so what it finds is what has kept the loop from answering.
        self._see(begun_at_s=now_s if self._looked else asked_at_s, now_s=now_s, late_s=late_s)
        self._looked = True
        # A lag that has lasted for some time may be seen less exactly, for less. Not measured by ``block_s``, which may
        # be over before the first look.
        often_s = 2 * LOOKS_PER_BLOCK * self._look_again_s
        return self._look_again_s if now_s - asked_at_s < often_s else LONGEST_LOOK_AGAIN_S

    def answered(self, at_s: float, *, late_s: float) -> None:
        """The loop has answered: whatever blocked it has ended by then."""
        self._looked = False
        if self._block is not None:
            self._block.goes_on_until(at_s, late_s=late_s)
            self._end()

    def _see(self, *, begun_at_s: float, now_s: float, late_s: float) -> None:
        look, block = self._look(), self._block
        if block is not None and (look is None or look.call_id != block.call_id):
            self._end()
            block = None
        if look is None:
            return
        if block is None:
            block = self._block = _Block(look, begun_at_s=begun_at_s)
        block.see(look, now_s, late_s=late_s)
        if block.blocked_s >= TELL_MEANWHILE_S:
            self._note(block, ended=False)

    def _end(self) -> None:
        block, self._block = self._block, None
        if block is not None:
            self._note(block, ended=True)

    def _note(self, block: _Block, *, ended: bool) -> None:
        if block.looks < LOOKS_NEEDED or block.blocked_s < self._block_s:
            return
        counts = self._counter.note(block.task, block.blocked_s, counted_s=block.counted_s)
        block.counted_s = block.blocked_s
        if self._is_due(block.task, counts, block.seen_at_s) or (ended and block.told):
            block.told = True
            emit(
                logger,
                LOOP_BLOCKED,
                level=logging.WARNING,
                stack=block.stack(),
                task=block.task,
                call_id=block.call_id,
                blocked_ms=round(block.blocked_s * 1_000),
                longest_ms=round(counts.longest_s * 1_000),
                blocks=counts.blocks,
                ended=ended,
            )

    def _is_due(self, task: str, counts: LoopBlocks, now_s: float) -> bool:
        """Whether to tell of a task now; then it is told, and not soon again."""
        name = name_to_keep(task, self._told)
        told_at_s, longest_s = self._told.get(name, (float("-inf"), 0.0))
        due = now_s - told_at_s >= TELL_AGAIN_S or counts.longest_s >= TELL_AGAIN_TIMES * longest_s
        if due:
            self._told[name] = (now_s, counts.longest_s)
        return due
