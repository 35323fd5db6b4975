"""Redis behind Sentinels: who writes and who works finds the new primary, and what was accepted with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.calls import Customer, Recorder, open_lane, recorder, worker_on
from tests.servers.redis_fleet import RedisNode, redis_node, sentinel_trio, wait_until

from weighbridge.errors import EnqueueError
from weighbridge.lanes.queue import QueueLane, connect

NAMESPACE = "shop"


@pytest.fixture
def record() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


def test_a_failover_loses_no_call_that_a_replica_has_confirmed_and_needs_no_restart(
    tmp_path: Path, record: Recorder
) -> None:
    with sentinel_trio(tmp_path) as trio:
        url = f"{trio.url}&replicas=1"
        web = connect(url, namespace=NAMESPACE, timeout_s=0.5)
        working = connect(url, namespace=NAMESPACE, timeout_s=0.5)
        with worker_on(working, record.spec), open_lane(web) as lane:
            customer = Customer(lane, record)
            customer.start()
            try:
                wait_until(lambda: len(customer.accepted) >= 100, what="calls are accepted before the failover")
                first = trio.primary()
                first.kill()
                wait_until(lambda: customer.refused, what="calls are refused while there is no primary")
                refused_at = len(customer.accepted)
                wait_until(lambda: len(customer.accepted) >= refused_at + 100, what="calls are accepted afterwards")
            finally:
                customer.stop()
            assert trio.primary().port != first.port
            missing = set(customer.accepted)
            wait_until(lambda: missing.issubset(record.runs), what="each accepted call runs")
    assert "redis 'shop' (by its Sentinels" in customer.refused[0].problem


def probes_fail(node: RedisNode, lane: QueueLane) -> bool:
    """Whether the breaker stays open over two probes."""
    before = probes(node)
    wait_until(lambda: probes(node) >= before + 2, what="it is probed twice")
    return lane.refuses


def probes(node: RedisNode) -> int:
    info: Any = node.client.info("commandstats")
    return int(info["cmdstat_wait"]["calls"])


def test_a_write_that_no_replica_has_confirmed_is_not_accepted_and_may_be_there(
    tmp_path: Path, record: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_node(tmp_path) as node:
        broker = connect(f"{node.url}?replicas=1", namespace=NAMESPACE, timeout_s=2)
        with open_lane(broker, timeout_s=2) as lane:
            began_s = time.monotonic()
            with pytest.raises(EnqueueError, match="did not confirm the write") as caught:
                lane.commit_blocking([record.call(1)])
            assert caught.value.unknown
            assert time.monotonic() - began_s < 4
            wait_until(lambda: lane.refuses, what="the breaker opens, for the publisher's last try has ended too")
            assert "0 of 1 replicas confirmed within" in caplog.text
            assert probes_fail(node, lane), "a probe asks for the replicas too, or the breaker would flap"
            assert lane.waiting_in("default") == 1, "written once, however often the write was repeated"


def test_a_read_only_answer_is_a_refusal_and_the_next_write_connects_anew(tmp_path: Path, record: Recorder) -> None:
    def connections(node: RedisNode) -> int:
        return int(node.client.info("stats")["total_connections_received"])

    with redis_node(tmp_path) as node:
        broker = connect(node.url, namespace=NAMESPACE, timeout_s=0.5)
        with open_lane(broker) as lane:
            lane.commit_blocking([record.call(1)])
            node.client.replicaof("127.0.0.1", 1)
            with pytest.raises(EnqueueError, match="is a read-only replica") as caught:
                lane.commit_blocking([record.call(2)])
            assert not caught.value.unknown
            before = connections(node)
            node.client.replicaof("NO", "ONE")
            wait_until(lambda: not lane.refuses, what="a probe finds that the server takes writes")
            lane.commit_blocking([record.call(3)])
            after = connections(node)
            assert after > before
            lane.commit_blocking([record.call(4)])
            assert connections(node) == after
            assert lane.waiting_in("default") == 3
