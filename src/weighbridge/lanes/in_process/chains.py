"""The chains that were started: which of their calls runs, which waits for a slot, which for its next attempt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from weighbridge.call import Call
from weighbridge.lanes.in_process.chain import Chain
from weighbridge.lanes.in_process.pool import Pool
from weighbridge.lanes.in_process.room import Room
from weighbridge.lanes.in_process.runner import Runner
from weighbridge.lanes.starter import Starter


@dataclass(slots=True, eq=False)
class _Retry:
    """The chain of a call whose next attempt is not due yet, and what stops its clock."""

    chain: Chain
    stop: Callable[[], None]


class Chains:
    """Starts the first call of each chain as soon as a slot is free, and the next one when it has ended.

    Belongs to the loop of its ``starter``.

    :param ended: Told when a call has ended here.
    :param waits: Told when a call that ran waits for its next attempt.
    """

    def __init__(
        self,
        *,
        threads: int,
        running_limit: int,
        room: Room,
        starter: Starter,
        runner: Runner,
        ended: Callable[[], None],
        waits: Callable[[], None],
    ) -> None:
        self.threads = Pool(limit=threads)
        self.tasks = Pool(limit=running_limit)
        self._room = room
        self._starter = starter
        self._runner = runner
        self._ended = ended
        self._waits = waits
        self._closed = False
        #: Those that have not ended, in the order started.
        self._chains: dict[Chain, None] = {}
        self.running: dict[Call, Chain] = {}
        #: How often a call has run that waits for, or is in, another attempt.
        self._attempts: dict[Call, int] = {}
        #: The calls whose next attempt is not due yet.
        self._retries: dict[Call, _Retry] = {}
        self._lets_pass = False
        #: Calls that are not to be started until they stay or go.
        self._held: set[Call] = set()

    def start(self, calls: Sequence[Call]) -> Chain:
        """Start a chain of calls, which have room."""
        chain = Chain(calls)
        self._chains[chain] = None
        self._line_up(chain, calls[0])
        return chain

    def waiting(self) -> Iterator[tuple[Chain, Call]]:
        """The calls that were started here and wait, with their chains."""
        for chain in self._chains:
            for call in chain:
                if call not in self.running:
                    yield chain, call

    def runs(self, call_id: str) -> bool:
        """Whether the call of this id runs."""
        return any(call.id == call_id for call in self.running)

    def attempts(self, call: Call) -> int:
        """How often a call that waits here has run."""
        return self._attempts.get(call, 0)

    # -- running --------------------------------------------------------------------------------------------

    def _line_up(self, chain: Chain, call: Call) -> None:
        """Let a chain wait for a slot for ``call``, which is its first."""
        if call in self._held:
            return
        pool = self.tasks if call.is_async else self.threads
        if pool.chains or pool.running >= pool.limit or self._closed:
            pool.chains.append((chain, call))
            self._begin_next(pool)
        else:
            self._begin(pool, chain, call)

    def _begin_next(self, pool: Pool) -> None:
        while pool.chains and pool.running < pool.limit and not self._closed:
            self._begin(pool, *pool.chains.popleft())

    def _begin(self, pool: Pool, chain: Chain, call: Call) -> None:
        self._room.leave(call)
        pool.running += 1
        self.running[call] = chain
        # What an attempt sets is not seen by the next one.
        context = call.context.copy() if call.spec is not None and call.spec.retries else call.context
        self._starter.start(call.name, context, self._run_first, pool, chain, call)

    async def _run_first(self, pool: Pool, chain: Chain, call: Call) -> None:
        attempt = (self._attempts.get(call, 0) if self._attempts else 0) + 1
        again_in_s: float | None = None
        try:
            again_in_s = await self._runner.run(call, attempt=attempt)
        finally:
            if self.running.pop(call, None) is not None:  # or it was left behind
                pool.running -= 1
                if again_in_s is not None and not self._closed:
                    self._wait_for_retry(chain, call, attempt, again_in_s)
                else:
                    if self._attempts:
                        self._attempts.pop(call, None)
                    following = chain.end_first()
                    if following is None:
                        self._chains.pop(chain, None)
                    elif not self._closed:
                        self._line_up(chain, following)
                if pool.chains:
                    self._begin_next(pool)
                self._ended()

    def _wait_for_retry(self, chain: Chain, call: Call, attempt: int, again_in_s: float) -> None:
        """Let a call that has run ``attempt`` times wait for the next one; its slot is another's meanwhile."""
        self._attempts[call] = attempt
        self._room.come_back(call)
        stop = self._starter.later(again_in_s, partial(self._retry, call))
        self._retries[call] = _Retry(chain=chain, stop=stop)
        if self._lets_pass:
            self._let_pass(call)
        self._waits()

    def _retry(self, call: Call) -> None:
        if (retry := self._retries.pop(call, None)) is not None:
            self._line_up(retry.chain, call)

    # -- draining -------------------------------------------------------------------------------------------

    def let_pass(self) -> None:
        """From now on nobody waits behind a call that waits for its next attempt: its time may not come any more."""
        self._lets_pass = True
        for call in [*self._retries]:
            self._let_pass(call)

    def _let_pass(self, call: Call) -> None:
        retry = self._retries[call]
        chain = retry.chain
        retry.chain = Chain([call])
        self._chains[retry.chain] = None
        chain.drop([call])
        if chain.first is None:
            self._chains.pop(chain, None)
        else:
            self._line_up(chain, chain.first)

    def hold(self, calls: Collection[Call]) -> None:
        """Start none of these, which wait or are about to, until they :meth:`stay` or :meth:`go`."""
        self._held.update(calls)
        for pool in (self.threads, self.tasks):
            pool.take_out(calls)

    def holds(self, call: Call) -> bool:
        """Whether this call is held."""
        return call in self._held

    def go(self, chain: Chain, calls: Collection[Call]) -> None:
        """These calls, which were held, will not run here; their chain goes on without them."""
        first = chain.first
        chain.drop(calls)
        self._held.difference_update(calls)
        for call in calls:
            self._attempts.pop(call, None)
            if (retry := self._retries.pop(call, None)) is not None:
                retry.stop()
        if chain.first is None:
            self._chains.pop(chain, None)
        elif chain.first is not first:
            self._line_up(chain, chain.first)

    def stay(self, chain: Chain, calls: Collection[Call]) -> None:
        """These calls, which were held, run here after all."""
        self._held.difference_update(calls)
        first = chain.first
        if first is not None and first in calls and first not in self._retries:  # which has a time of its own
            self._line_up(chain, first)

    def close(self) -> None:
        """Start nothing more. Whoever waits for a chain whose calls all wait waits no longer."""
        self._closed = True
        running = set(self.running.values())
        for chain in self._chains:
            chain.give_up(running=chain in running)
        for retry in self._retries.values():
            retry.stop()
        self._chains.clear()
        self._retries.clear()

    def end(self) -> None:
        """What ran was cancelled, some of it before its first step, or left behind; nobody waits for it any longer."""
        for chain in self.running.values():
            chain.give_up(running=False)
        self.running.clear()
