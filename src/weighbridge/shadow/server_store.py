"""The store on the broker's server, if that is Redis or Valkey: one hash for each day, which expires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import redis
from redis.exceptions import NoPermissionError, RedisClusterException

from weighbridge.errors import BrokerError
from weighbridge.lanes.queue.failure import broker_error, unreached
from weighbridge.lanes.queue.keys import shadow_key
from weighbridge.lanes.queue.permissions import OPERATOR
from weighbridge.lanes.queue.primary import address_of
from weighbridge.lanes.queue.streams import StreamsBroker
from weighbridge.shadow.store import KEPT_DAYS, Delta

_DAY_S: Final = 86_400

#: KEYS: the day's hash. ARGV: seconds that it is kept, the writer's field, the delta's number, how many fields are
#: added to, how many are set if they are not there; then field and value of each: of these, and of those that are set.
_ADD: Final = """
if tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '0') >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[1])
local added, first = tonumber(ARGV[4]), tonumber(ARGV[5])
for n = 1, (#ARGV - 5) / 2 do
  local field, value = ARGV[4 + 2 * n], ARGV[5 + 2 * n]
  if n <= added then redis.call('HINCRBY', KEYS[1], field, value)
  elseif n <= added + first then redis.call('HSETNX', KEYS[1], field, value)
  else redis.call('HSET', KEYS[1], field, value) end
end
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

    def add(self, delta: Delta) -> None:
        """As :class:`ShadowStore` says.

        :raises BrokerError: if the server does not answer, or does not let this user write.
        """
        arguments: list[str | int] = [KEPT_DAYS * _DAY_S, delta.writer, delta.number]
        arguments += len(delta.added), len(delta.first)
        for fields in (delta.added, delta.first, delta.last):
            for field, value in fields.items():
                arguments += field, value
        try:
            self._add([shadow_key(self._namespace, delta.day.isoformat())], arguments)
        except (redis.RedisError, RedisClusterException) as error:
            raise self._refused(error) from error

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
            raise self._refused(error) from error
        return {field.decode(): value.decode() for field, value in fields.items()}

    def _refused(self, error: Exception) -> BrokerError:
        return broker_error(unreached(error, address=self._address), address=self._address)
