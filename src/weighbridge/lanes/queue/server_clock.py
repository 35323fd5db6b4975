"""The server's clock, as this process knows it: the one clock by which all hosts judge how old a message is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import redis

#: Seconds for which one look at the server's clock is good enough: this process's monotonic clock goes on from there.
LOOK_EVERY_S: Final = 30.0


class ServerClock:
    """Asks the server for its time once in 30 s at most. Thread-safe: two threads that ask at once ask twice."""

    def __init__(self, client: redis.Redis, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._monotonic = monotonic
        self._look: tuple[float, int] | None = None

    def now_ms(self) -> int:
        """The server's time in milliseconds since 1970, late by up to a round trip.

        :raises redis.RedisError: if it has to be asked and does not answer.
        """
        look = self._look
        now_s = self._monotonic()
        if look is None or now_s - look[0] > LOOK_EVERY_S:
            seconds, microseconds = self._client.time()
            now_s = self._monotonic()
            look = self._look = (now_s, seconds * 1000 + microseconds // 1000)
        return look[1] + int((now_s - look[0]) * 1000)
