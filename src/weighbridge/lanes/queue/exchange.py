"""Commands of a worker over connections of a client's pool, without what redis-py does around each command.

redis-py's ``execute_command`` takes a connection and looks whether it is alive, repeats the command by its ``Retry``,
measures it for OpenTelemetry, and passes through wrappers for deprecated arguments. A worker's client repeats nothing
(see ``patient_client.py``), so of all this a worker would have only the cost, once for each run: a third of the
processor time that a run takes without its task.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError

#: Seconds after its last use for which a connection is taken for alive. After that the pool looks.
FRESH_S: Final = 1.0


class Exchange:
    """Sends commands over a client's connections, each once. Thread-safe; raises redis-py's errors."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py's methods for this are not typed
        #: What the pool has given out and is not in use, with the time of its last use; the latest last.
        self._kept: deque[tuple[float, Any]] = deque()
        self._pid = os.getpid()

    def send(self, *words: str | bytes | float) -> Any:
        """Send one command, and give its reply as redis-py reads it."""
        if self._client.connection is not None:  # the user's own client, with one connection that its threads share
            return self._client.execute_command(*words)
        connection = self._connection()
        try:
            connection.send_command(*words)
            reply = self._client.parse_response(connection, words[0])
        except BaseException as error:
            if not isinstance(error, redis.ResponseError):  # no whole reply: what is left must not meet another command
                connection.disconnect()
            self._client.connection_pool.release(connection)
            self.let_go()  # perhaps the server is another one by now, and the pool looks
            raise
        self._kept.append((time.monotonic(), connection))
        return reply

    def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """Run a script. A server that has forgotten it is given it again."""
        try:
            return self.send("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            self._client.script_load(script.script)
            return self.send("EVALSHA", script.sha, len(keys), *keys, *args)

    def let_go(self) -> None:
        """Give back to the pool what is not in use."""
        while True:
            try:
                _, connection = self._kept.pop()
            except IndexError:
                return
            self._client.connection_pool.release(connection)

    def _connection(self) -> Any:
        if self._pid != os.getpid():  # a fork: these are the parent's
            self._kept.clear()
            self._pid = os.getpid()
        try:
            used_s, connection = self._kept.pop()
        except IndexError:
            return self._client.connection_pool.get_connection()
        if time.monotonic() - used_s <= FRESH_S and not connection.should_reconnect():
            return connection
        self._client.connection_pool.release(connection)
        return self._client.connection_pool.get_connection()
