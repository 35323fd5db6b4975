"""The keeper's sign of life, which tells whether the interpreter runs and not whether the server answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import redis

from weighbridge.lanes.queue.keeper import Keeper
from weighbridge.lanes.queue.leases import Leases
from weighbridge.lanes.queue.stream_message import Entry
from weighbridge.lanes.queue.stream_queue import StreamQueue


class SilentQueue(StreamQueue):
    """A queue of a server that does not answer within the time-out; what it is asked stands in a list."""

    def __init__(self, name: str, happened: list[str]) -> None:
        self.name = name
        self._happened = happened

    def renew(self, entry_ids: Sequence[str]) -> list[str]:
        self._happened.append("asked")
        raise redis.TimeoutError("Timeout reading from socket")

    def delayed_before(self, score: str | None) -> int:
        self._happened.append("asked")
        raise redis.TimeoutError("Timeout reading from socket")


def test_a_sign_of_life_is_given_between_queues_whose_server_is_silent() -> None:
    happened: list[str] = []
    keeper = Keeper(lease_s=0.3, pulse=lambda: happened.append("pulse"))
    for name in ("one", "two", "three", "four"):
        leases = Leases(SilentQueue(name, happened))
        leases.take([Entry(id="1-0", fields={})], at_s=0.0)
        keeper.watch(leases)

    keeper.start()
    keeper.join(0.5)
    keeper.stop()
    keeper.join()

    assert happened.count("asked") >= 4
    assert ("asked", "asked") not in set(pairwise(happened))
