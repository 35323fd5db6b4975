"""Redis Cluster: a namespace with a hash tag lies on one node, and everything follows it there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from redis.cluster import RedisCluster as ClusterClient
from tests.servers.calls import Customer, Recorder, open_lane, recorder, worker_on
from tests.servers.redis_fleet import HOST, RedisCluster, redis_cluster, wait_until

from weighbridge.errors import BrokerError
from weighbridge.lanes.queue import StreamsBroker, connect
from weighbridge.lanes.queue.dead_letters import DeadLetters, DeadReason
from weighbridge.lanes.queue.keys import QueueKeys

TAG = "weighbridge"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), tag=TAG) as cluster:
        yield cluster


@pytest.fixture
def record() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


@pytest.fixture
def namespace() -> str:
    """One of its own, in the slot of the tag."""
    return f"{{{TAG}}}:{uuid4().hex}"


def not_the_keeper(cluster: RedisCluster) -> str:
    """An address that names one node alone, which keeps none of the namespace's keys."""
    keeper = cluster.keeper()
    return cluster.url_of(next(node for node in cluster.nodes[:3] if node.port != keeper.port))


@pytest.mark.parametrize("way", ["address", "client"])
def test_calls_delays_retries_and_dead_letters_work_on_a_cluster(
    cluster: RedisCluster, record: Recorder, namespace: str, way: str
) -> None:
    def broker() -> StreamsBroker:
        if way == "address":
            made = connect(not_the_keeper(cluster), namespace=namespace, timeout_s=2)
        else:
            client = ClusterClient(host=HOST, port=cluster.nodes[1].port, socket_timeout=2)
            made = StreamsBroker(client=client, namespace=namespace)
        assert isinstance(made, StreamsBroker)
        return made

    record.failing[:] = [3, 4, 4]  # the third call is retried once, and runs; the fourth becomes a dead letter
    web = broker()
    with open_lane(web, timeout_s=2) as lane:
        lane.commit_blocking([record.call(1), record.call(2, delay_s=0.05), record.call(3), record.call(4)])
        assert lane.waiting_in("default") >= 3
        with worker_on(broker(), record.spec):
            wait_until(lambda: sorted(record.runs) == [1, 2, 3], what="three of the calls run")
            letters = DeadLetters(web.client, namespace)
            wait_until(letters.list, what="the fourth becomes a dead letter")
            [letter] = letters.list()
            assert (letter.reason, letter.attempts) == (DeadReason.FAILED, 2)
            letters.requeue(letter.id)
            wait_until(lambda: sorted(record.runs) == [1, 2, 3, 4], what="the requeued call runs")
        assert letters.list() == ()
        assert lane.available() is True


def test_a_cluster_does_not_take_a_namespace_that_it_would_spread(cluster: RedisCluster) -> None:
    remedy = "put the namespace into braces, so that all its keys share a slot: '{shop}'"
    with pytest.raises(BrokerError, match=remedy):
        connect(cluster.url_of(), namespace="shop", timeout_s=1)
    client = ClusterClient(host=HOST, port=cluster.nodes[0].port)
    with pytest.raises(BrokerError, match=remedy):
        StreamsBroker(client=client, namespace="shop", middleware=[])
    with pytest.raises(BrokerError, match=remedy):
        DeadLetters(client, "shop")
    client.close()


def test_a_plain_address_of_a_clusters_node_is_told_what_is_missing(
    cluster: RedisCluster, namespace: str, record: Recorder
) -> None:
    url = not_the_keeper(cluster).partition("?")[0]
    broker = connect(url, namespace=namespace, timeout_s=1)
    with (
        open_lane(broker) as lane,
        pytest.raises(Exception, match=r"is a node of a cluster.* add cluster=yes") as caught,
    ):
        lane.commit_blocking([record.call(1)])
    assert not getattr(caught.value, "unknown", True)


def test_a_slot_that_moves_to_another_node_takes_the_writer_and_the_worker_along(
    cluster: RedisCluster, record: Recorder
) -> None:
    namespace = "{moving}"
    slot = int(cluster.nodes[0].command("CLUSTER", "KEYSLOT", f"{namespace}:primary"))
    here = next(node for node in cluster.nodes[:3] if answers(node.client, namespace))
    there = next(node for node in cluster.nodes[:3] if node is not here)
    web = connect(cluster.url_of(), namespace=namespace, timeout_s=2)
    with (
        open_lane(web, timeout_s=2) as lane,
        worker_on(connect(cluster.url_of(), namespace=namespace, timeout_s=2), record.spec),
    ):
        lane.commit_blocking([record.call(1)])
        wait_until(lambda: record.runs == [1], what="the first call runs")
        keys = QueueKeys(namespace=namespace, queue="default")
        wait_until(lambda: here.client.xlen(keys.stream) == 0, what="it is settled")
        there.command("CLUSTER", "SETSLOT", slot, "NODE", cluster.id_of(there))
        with here.client.pipeline(transaction=True) as step:  # in one, for the waiting worker would make the group anew
            step.delete(*here.client.keys(f"{namespace}*"))
            move: Any = step.execute_command
            move("CLUSTER", "SETSLOT", slot, "NODE", cluster.id_of(there))
            step.execute()
        lane.commit_blocking([record.call(2)])  # nothing of it was written where it had been, so it is asked again
        assert there.client.exists(keys.stream)
        wait_until(lambda: record.runs == [1, 2], what="the second call runs")


def answers(client: redis.Redis, namespace: str) -> bool:
    try:
        client.get(f"{namespace}:primary")
    except redis.ResponseError:
        return False
    return True


LATE = 1_000_000


def test_a_node_that_dies_is_replaced_and_no_confirmed_call_is_lost(  # last: it costs the cluster a node
    cluster: RedisCluster, record: Recorder, namespace: str
) -> None:
    url = f"{cluster.url_of()}&replicas=1"
    with (
        worker_on(connect(url, namespace=namespace, timeout_s=0.5), record.spec),
        open_lane(connect(url, namespace=namespace, timeout_s=0.5)) as lane,
    ):
        customer = Customer(lane, record)
        customer.start()
        try:
            wait_until(lambda: len(customer.accepted) >= 50, what="calls are accepted before the failover")
            cluster.keeper().kill()
            confirmed = list(customer.accepted)
            successor = cluster.nodes[3].client
            wait_until(lambda: successor.info("replication")["role"] == "master", what="the replica takes over")
            wait_until(lambda: set(confirmed).issubset(record.runs), what="each confirmed call runs")
            assert lane.refuses, "nobody confirms what the new primary takes, for it has no replica"
        finally:
            customer.stop()
        with open_lane(connect(cluster.url_of(), namespace=namespace, timeout_s=0.5)) as undemanding:
            undemanding.commit_blocking([record.call(LATE)])
        wait_until(lambda: LATE in record.runs, what="the new primary takes writes and the worker reads")
