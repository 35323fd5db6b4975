from __future__ import annotations

import pytest
import redis
from redis.sentinel import Sentinel, SentinelConnectionPool

from weighbridge.lanes.queue.patient_client import PatientClient


@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:7/3", "rediss://127.0.0.1:7/3", "unix:///nowhere/s?db=3"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_it_goes_to_the_same_place_and_waits_longer_than_it_blocks(url: str, protocol: int) -> None:
    client = redis.Redis.from_url(url, socket_timeout=0.5, protocol=protocol)

    patient = PatientClient(client, block_s=2)

    given, made = client.connection_pool, patient.client.connection_pool
    assert made.connection_class is given.connection_class
    assert made.connection_kwargs["db"] == 3
    assert made.connection_kwargs.get("password") == given.connection_kwargs.get("password")
    assert made.connection_kwargs["socket_timeout"] > 2
    assert given.connection_kwargs["socket_timeout"] == 0.5


def test_it_does_not_repeat_a_read_by_itself() -> None:
    patient = PatientClient(redis.Redis(), block_s=2)

    assert patient.client.connection_pool.connection_kwargs["retry"].get_retries() == 0


def test_it_asks_the_same_sentinel() -> None:
    sentinel = Sentinel([("127.0.0.1", 7)])  # type: ignore[no-untyped-call]  # redis-py does not type it
    client: redis.Redis = sentinel.master_for("shop", socket_timeout=0.5)  # type: ignore[no-untyped-call]  # as above

    pool = PatientClient(client, block_s=2).client.connection_pool

    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "shop"
    assert pool.sentinel_manager is sentinel
    assert pool.is_master


def test_with_a_pool_that_it_does_not_know_it_blocks_for_half_of_the_clients_time_out() -> None:
    class Pool(redis.ConnectionPool):
        pass

    client = redis.Redis(connection_pool=Pool(socket_timeout=0.5))

    patient = PatientClient(client, block_s=2)

    assert patient.client is client
    assert patient.block_s == 0.25
