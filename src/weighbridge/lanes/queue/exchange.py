"""One command over a connection of a client's pool, without what redis-py does around each command.

redis-py's ``execute_command`` repeats commands by its ``Retry``, measures them for OpenTelemetry and passes through
wrappers for deprecated arguments. A worker's client repeats nothing (see ``patient_client.py``), so of all this a
worker would have only the cost, once for each run: a third of the processor time that a run takes without its task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError


def exchange(client: redis.Redis, *words: str | bytes | float) -> Any:
    """Send one command, once, and give its reply as redis-py reads it. Raises redis-py's errors."""
    untyped: Any = client  # as redis-py's methods for this are
    if untyped.connection is not None:  # the user's own client, with one connection that its threads share
        return untyped.execute_command(*words)
    pool = untyped.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command(*words)
        return untyped.parse_response(connection, words[0])
    except redis.ResponseError:  # a whole reply
        raise
    except BaseException:  # also what another thread has raised in this one: the reply must not meet the next command
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def run_script(script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
    """Run a script by :func:`exchange`. A server that has forgotten it is given it again. Raises redis-py's errors."""
    client = cast("redis.Redis", script.registered_client)
    try:
        return exchange(client, "EVALSHA", script.sha, len(keys), *keys, *args)
    except NoScriptError:
        client.script_load(script.script)
        return exchange(client, "EVALSHA", script.sha, len(keys), *keys, *args)
