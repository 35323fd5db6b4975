"""A script whose effect counts once enough replicas have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.commands.core import Script
from redis.exceptions import MovedError, NoScriptError

#: The share of a reply's time that replicas get. The rest is for the reply itself.
REPLICAS_SHARE: Final = 0.6
#: Milliseconds for the replicas if the client waits for ever.
UNBOUNDED_MS: Final = 1_000


class ReplicatedScript:
    """Runs a script, and asks in the same exchange how many replicas have its effect.

    A primary that dies has acknowledged writes that no replica had: replication is asynchronous. With ``replicas``
    such a write is not taken for done. It is there all the same, so only a script that may run again is for this.
    """

    def __init__(self, script: Script, *, client: redis.Redis, replicas: int) -> None:
        self._script = script
        self._client = client
        self._replicas = replicas
        limit_s = client.connection_pool.connection_kwargs.get("socket_timeout")
        self._wait_ms = UNBOUNDED_MS if limit_s is None else max(1, int(limit_s * 1000 * REPLICAS_SHARE))

    def __call__(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> None:
        """Run it.

        Raises redis-py's errors: ``TimeoutError`` if fewer replicas have confirmed in 60 % of the client's time-out.
        """
        moved = self._run(keys, args)
        if moved is not None and self._run(keys, args) is not None:  # nothing was written, and now the place is known
            raise moved

    def _run(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> MovedError | None:
        try:
            if self._replicas:
                self._run_replicated(keys, args)
            else:
                self._script(keys, args)
        except MovedError as moved:
            return moved
        return None

    def _run_replicated(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> None:
        try:
            confirmed = self._exchange(keys, args)
        except NoScriptError:
            self._client.script_load(self._script.script)
            confirmed = self._exchange(keys, args)
        if confirmed < self._replicas:
            raise redis.TimeoutError(f"{confirmed} of {self._replicas} replicas confirmed within {self._wait_ms} ms")

    def _exchange(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> int:
        # One connection: WAIT asks about the writes of its own.
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.evalsha(self._script.sha, len(keys), *keys, *args)
            pipeline.wait(self._replicas, self._wait_ms)
            replies: list[Any] = pipeline.execute(raise_on_error=False)  # its own errors would tell the arguments
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return int(replies[1])
