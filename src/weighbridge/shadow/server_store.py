"""The store on the broker's server, if that is Redis or Valkey: one hash for each day, which expires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, Self

import redis
from redis.exceptions import NoPermissionError, RedisClusterException

from weighbridge.errors import BrokerError
from weighbridge.lanes.queue.failure import broker_error, unreached, unwritten
from weighbridge.lanes.queue.keys import shadow_key
from weighbridge.lanes.queue.permissions import OPERATOR
from weighbridge.lanes.queue.primary import address_of
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.shadow.store import BEYOND, KEPT_DAYS, MOST_FIELDS, Delta

_DAY_S: Final = 86_400

#: KEYS: the day's hash. ARGV: seconds that it is kept, the writer's field, the delta's number, the most fields to which
#: others are added, the field beyond, and how many fields hold the lowest, the highest, and a name; then field and
#: value of these and of those that are added to. The writer's number comes last and what is added just before, and
#: EXPIRE first too: a user who lacks a command is refused before anything stands there that cannot be written again.
_ADD: Final = """
local key, writer, number, most = KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if tonumber(redis.call('HGET', key, writer) or '0') >= number then return 0 end
redis.call('EXPIRE', key, ARGV[1])
local lowest = tonumber(ARGV[6])
local highest = lowest + tonumber(ARGV[7])
local named = highest + tonumber(ARGV[8])
local fields = redis.call('HLEN', key)
for n = 1, (#ARGV - 8) / 2 do
  local field, value = ARGV[7 + 2 * n], ARGV[8 + 2 * n]
  local held = redis.call('HGET', key, field)
  local room = held or fields < most
  if room and not held then fields = fields + 1 end
  if n > named then
    redis.call('HINCRBY', key, room and field or ARGV[5], value)
  elseif room then
    local known = held and tonumber(held)
    local newer = n > highest or not known or (n <= lowest and tonumber(value) < known)
    if newer or (n > lowest and tonumber(value) > known) then redis.call('HSET', key, field, value) end
  end
end
redis.call('HSET', key, writer, number)
redis.call('EXPIRE', key, ARGV[1])
return 1
"""


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

    @classmethod
    def of(cls, broker: StreamsBroker) -> Self:
        """The store beside the queues of a broker."""
        return cls(broker.client, namespace=broker.namespace, address=address_of(broker.client))

    def __str__(self) -> str:
        return f"{self._address}, namespace {self._namespace}"

    def add(self, delta: Delta) -> None:
        """As :class:`ShadowStore` says.

        :raises BrokerError: if the server does not answer, or does not let this user write.
        """
        arguments: list[str | int] = [KEPT_DAYS * _DAY_S, delta.writer, delta.number, MOST_FIELDS, BEYOND]
        arguments += len(delta.lowest), len(delta.highest), len(delta.named)
        for fields in (delta.lowest, delta.highest, delta.named, delta.added):
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
