"""The drain: what becomes of the lane's calls when the service shuts down."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
import anyio.lowlevel

from weighbridge.call import Call
from weighbridge.cancellation import to_the_end
from weighbridge.events import emit
from weighbridge.lanes.in_process.chain import Chain
from weighbridge.lanes.in_process.chains import Chains
from weighbridge.lanes.in_process.counts import InProcessCounter
from weighbridge.lanes.in_process.room import Room
from weighbridge.lanes.in_process.runner import about

logger: Final = logging.getLogger("weighbridge.in_process")

CALL_HANDED_OVER: Final = "in_process.call_handed_over"
CALL_PERHAPS_HANDED_OVER: Final = "in_process.call_perhaps_handed_over"

#: Calls of one hand-over: one write to the broker, and some milliseconds of encoding on the loop.
GROUP: Final = 100
#: Seconds until what the queue did not take is offered to it again.
PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """How a hand-over ended. The queue has the calls that were ``taken``, and may have those that are ``unknown``.

    It certainly has none of the others: those that were ``kept`` it may take later, those that were ``refused`` never,
    for the reason that is given.
    """

    taken: Sequence[Call] = ()
    unknown: Sequence[Call] = ()
    kept: Sequence[Call] = ()
    refused: Mapping[Call, str] = field(default_factory=dict)


class HandOver(Protocol):
    """The way from this lane to the queue, for calls that have not started. They keep their ids."""

    def obstacle(self, call: Call) -> str | None:
        """Why a call must stay; ``None`` if the queue may have it. Cheap, and without I/O."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether a call that the queue may have can be handed over once more without being there twice."""
        ...

    async def hand_over(self, calls: Mapping[Call, int]) -> HandedOver:
        """Have the queue take ``calls``, each of which has run so often. Not cancellable; bounded by a time-out."""
        ...


class Drain:
    """Hands over what waits and can be, at once, and again while the queue does not take it; waits for the rest.

    What can be handed over goes first, for nobody knows how long the process is given. What the queue certainly did not
    take may start here meanwhile. What it may have taken never does: it is handed over once more if the broker knows it
    again by its id, and is named otherwise.

    Belongs to the lane's loop; the time begins when it is made.

    :param undecided: Whether a commit is under way, whose calls may not be handed over yet, nor given up.
    """

    def __init__(
        self,
        *,
        room: Room,
        chains: Chains,
        counter: InProcessCounter,
        hand_over: HandOver,
        timeout_s: float,
        undecided: Callable[[], bool],
    ) -> None:
        self._room = room
        self._chains = chains
        self._counter = counter
        self._hand_over = hand_over
        self._undecided = undecided
        self._end_s = anyio.current_time() + timeout_s
        self._changed = anyio.Event()
        #: When to offer what waits to the queue; ``inf``: there is nothing that it could take.
        self._offer_at_s = -math.inf
        #: Calls that the queue may have, and how often each has run.
        self._unknown: dict[Call, int] = {}
        #: Why the queue will never take a call, beside what is known of its function.
        self._refused: dict[Call, str] = {}

    # -- for the lane ---------------------------------------------------------------------------------------

    def takes(self, calls: Iterable[Call]) -> bool:
        """Whether the lane may take these calls still: all of them can be handed over."""
        return all(self._hand_over.obstacle(call) is None for call in calls)

    def why_kept(self, call: Call) -> str:
        """Why a call that waits was not handed over."""
        return self._hand_over.obstacle(call) or self._refused.get(call) or "the queue did not take it"

    def note_waiting(self) -> None:
        """Calls wait that were not offered yet: a chain was started, or a run is to be repeated."""
        self._offer_at_s = min(self._offer_at_s, anyio.current_time())
        self._changed.set()

    def note_end(self) -> None:
        """A call has ended."""
        self._changed.set()

    async def run(self) -> None:
        """Return once nothing waits or runs here and nothing unknown can be found out, or the time is over.

        If it is cancelled, it can be run again, and goes on.
        """
        self._chains.let_pass()
        while True:
            self._changed = anyio.Event()  # before looking, or a change would be missed
            if anyio.current_time() >= self._offer_at_s:
                await self._offer()
            if not (self._room.calls or self._chains.running or self._may_ask_again()):
                return
            if anyio.current_time() >= self._end_s:
                if self._undecided():  # which the time-out of the broker bounds
                    await self._changed.wait()
                    continue
                await self._offer()  # what has come to wait since the last time, or was kept then
                # The rest: of a response that has not ended yet, and which nobody can wait for any longer.
                reserved = self._reserved()
                self._chains.hold(reserved)  # for good: the response may start them while they are on their way
                await self._offer_all(reserved)
                return
            with anyio.CancelScope(deadline=min(self._end_s, self._offer_at_s)):
                await self._changed.wait()

    def end(self) -> None:
        """Name the calls of which nobody knows whether the queue has them."""
        for call in self._unknown:
            emit(logger, CALL_PERHAPS_HANDED_OVER, level=logging.ERROR, **about(call))
        self._counter.unknown += len(self._unknown)
        self._unknown.clear()

    # -- handing over ---------------------------------------------------------------------------------------

    async def _offer(self) -> None:
        self._offer_at_s = math.inf
        if self._may_ask_again():
            await self._repeat()
        waiting = {
            call: chain
            for chain, call in self._chains.waiting()
            if self._hand_over.obstacle(call) is None and call not in self._refused
        }
        self._chains.hold(waiting)
        await self._offer_all(waiting)

    async def _offer_all(self, waiting: Mapping[Call, Chain | None]) -> None:
        """Hand over calls that are held, each with its chain, if that was started."""
        for group in _groups(waiting, GROUP):
            handed = await self._hand_over.hand_over({call: self._chains.attempts(call) for call in group})
            self._refused.update(handed.refused)
            self._unknown.update((call, self._chains.attempts(call)) for call in handed.unknown)
            self._note_taken(handed.taken)
            self._room.leave_all([*handed.taken, *handed.unknown])
            for chain, calls in _by_chain(waiting, [*handed.taken, *handed.unknown]).items():
                self._chains.go(chain, calls)
            for chain, calls in _by_chain(waiting, [*handed.kept, *handed.refused]).items():
                self._chains.stay(chain, calls)
            if handed.kept or handed.unknown:
                self._offer_at_s = anyio.current_time() + PAUSE_S
            await to_the_end(anyio.lowlevel.checkpoint)

    async def _repeat(self) -> None:
        for group in _groups(self._unknown, GROUP):
            handed = await self._hand_over.hand_over({call: self._unknown[call] for call in group})
            self._note_taken(handed.taken)
            for call in handed.taken:
                del self._unknown[call]
        if self._unknown:  # what was refused after that may be there all the same
            self._offer_at_s = anyio.current_time() + PAUSE_S

    def _note_taken(self, calls: Sequence[Call]) -> None:
        for call in calls:
            emit(logger, CALL_HANDED_OVER, **about(call))
        self._counter.handed_over += len(calls)

    def _may_ask_again(self) -> bool:
        """Whether the queue can still say of a call that it has it."""
        return bool(self._unknown) and self._hand_over.repeatable

    def _reserved(self) -> dict[Call, None]:
        """Accepted calls that can be handed over, and that their response has not started."""
        started = {call for _, call in self._chains.waiting()}
        return {call: None for call in self._room.calls if call not in started and self.takes([call])}


def _groups(calls: Iterable[Call], size: int) -> Iterator[Sequence[Call]]:
    left = [*calls]
    for start in range(0, len(left), size):
        yield left[start : start + size]


def _by_chain(chain_of: Mapping[Call, Chain | None], calls: Iterable[Call]) -> dict[Chain, set[Call]]:
    found: dict[Chain, set[Call]] = {}
    for call in calls:
        if (chain := chain_of[call]) is not None:
            found.setdefault(chain, set()).add(call)
    return found
