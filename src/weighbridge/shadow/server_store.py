"""The store on the broker's server, if that is Redis or Valkey: one hash for each day, which expires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import redis
from redis.exceptions import NoPermissionError, RedisClusterException

from weighbridge.errors import BrokerError
from weighbridge.lanes.queue.failure import broker_error, unreached, unwritten
from weighbridge.lanes.queue.keys import shadow_key
from weighbridge.lanes.queue.permissions import OPERATOR
from weighbridge.lanes.queue.primary import address_of
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.shadow.store import KEPT_DAYS, MOST_FIELDS, Delta

_DAY_S: Final = 86_400

#: KEYS: the day's hash. ARGV: seconds that it is kept, the writer's field, the delta's number, the most fields to which
#: others are added, and how many fields are added to, are the lowest, and the highest; then of the first three each
#: field and value (of the additions the field beyond, too), and of what is named.
#: The writer's number comes last and the counts just before: a user who lacks a command is refused before they are.
_ADD: Final = """
local key, writer, number = KEYS[1], ARGV[2], tonumber(ARGV[3])
if tonumber(redis.call('HGET', key, writer) or '0') >= number then return 0 end
local additions, lowest, highest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local at = 8 + 3 * additions
for n = 1, (#ARGV - at + 1) / 2 do
  local field, value = ARGV[at + 2 * n - 2], ARGV[at + 2 * n - 1]
  local known = n <= lowest + highest and tonumber(redis.call('HGET', key, field))
  if not known or (n <= lowest and tonumber(value) < known) or (n > lowest and tonumber(value) > known) then
    redis.call('HSET', key, field, value)
  end
end
redis.call('EXPIRE', key, ARGV[1])
local fields = redis.call('HLEN', key)
for n = 0, additions - 1 do
  local field, calls, beyond = ARGV[8 + 3 * n], ARGV[9 + 3 * n], ARGV[10 + 3 * n]
  if redis.call('HEXISTS', key, field) == 0 then
    if fields >= tonumber(ARGV[4]) then field = beyond end
    fields = fields + 1
  end
  redis.call('HINCRBY', key, field, calls)
end
redis.call('HSET', key, writer, number)
return 1
"""


def store_of(broker: StreamsBroker) -> ServerStore:
    """The store beside the queues of a broker."""
    client = broker.client
    return ServerStore(client, namespace=broker.namespace, address=address_of(client))


class ServerStore:
    """Keeps counts beside a service's queues.

    :param client: Stays the caller's.
    :param address: How errors name the server.
    """

    def __init__(self, client: redis.Redis, *, namespace: str, address: str) -> None:
        self._client = client
        self._namespace = namespace
        self._address = address
        self._add = client.register_script(_ADD)

    def __str__(self) -> str:
        return f"{self._address}, namespace {self._namespace}"

    def add(self, delta: Delta) -> None:
        """As :class:`ShadowStore` says.

        :raises BrokerError: if the server does not answer, or does not let this user write.
        """
        arguments: list[str | int] = [KEPT_DAYS * _DAY_S, delta.writer, delta.number, MOST_FIELDS]
        arguments += len(delta.additions), len(delta.lowest), len(delta.highest)
        for each in delta.additions:
            arguments += each.field, each.calls, each.beyond
        for fields in (delta.lowest, delta.highest, delta.named):
            for field, value in fields.items():
                arguments += field, value
        try:
            self._add([shadow_key(self._namespace, delta.day.isoformat())], arguments)
        except (redis.RedisError, RedisClusterException) as error:
            raise broker_error(unwritten(error, address=self._address), address=self._address) from error

    def read(self, day: date) -> Mapping[str, str]:
        """As :class:`ShadowStore` says.

        :raises BrokerError: if the server does not answer, or does not let this user read.
        """
        try:
            fields: Any = self._client.hgetall(shadow_key(self._namespace, day.isoformat()))
        except NoPermissionError as error:
            problem = f"does not let this user read what was counted of the shadow policy ({error})"
            raise BrokerError(broker=self._address, problem=problem, remedy=OPERATOR) from error
        except (redis.RedisError, RedisClusterException) as error:
            raise broker_error(unreached(error, address=self._address), address=self._address) from error
        return {field.decode("utf-8", "replace"): value.decode("utf-8", "replace") for field, value in fields.items()}
