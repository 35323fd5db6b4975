"""Redis servers of a test's own: alone with its data on disk, a primary with replicas and Sentinels, a cluster.

Each is a real process on loopback, on ports that the system assigns, and ends with the test, whatever becomes of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from weighbridge.embedded.binary import find_binary
from weighbridge.embedded.server import WATCHED

HOST = "127.0.0.1"
SLOTS = 16_384


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, each another."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


def wait_until(condition: Callable[[], object], *, what: str, within_s: float = 20) -> None:
    """Wait for a condition. A server that is not there yet, or refuses yet, counts as not."""
    deadline_s = time.monotonic() + within_s
    problem: Exception | None = None
    while True:
        try:
            if condition():
                return
        except redis.RedisError as error:
            problem = error
        assert time.monotonic() < deadline_s, f"{what}: not within {within_s} s ({problem!r})"
        time.sleep(0.01)


class RedisNode:
    """One server process; ``lines`` are its configuration beside the port and the directory."""

    def __init__(self, directory: Path, port: int, lines: Sequence[str], *, sentinel: bool = False) -> None:
        self.port = port
        self.directory = directory
        directory.mkdir()
        self._configuration = directory / "server.conf"
        common = [f"bind {HOST}", f"port {port}", f"dir {directory}", f"logfile {directory / 'log'}", 'save ""']
        self._configuration.write_text("\n".join([*(common[:-1] if sentinel else common), *lines]) + "\n")
        self._mode = ["--sentinel"] if sentinel else []
        self._guard: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(host=HOST, port=port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start the process; :meth:`wait_for_answer` waits for it."""
        command = [*WATCHED, "0.5", "", str(find_binary()), str(self._configuration), *self._mode]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def wait_for_answer(self) -> None:
        wait_until(self.client.ping, what=f"the server on port {self.port} answers")

    def command(self, *words: str | int) -> Any:
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's

    @property
    def pid(self) -> int:
        return int(self.client.info("server")["process_id"])

    def kill(self) -> None:
        """End it as a crash does."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.wait(10)
        self._guard.stdin.close()

    def stop(self) -> None:
        self.client.close()
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait(10)


@contextmanager
def _all_stopped(nodes: list[RedisNode]) -> Iterator[None]:
    try:
        yield
    finally:
        for node in nodes:
            node.stop()


@contextmanager
def redis_node(directory: Path, *lines: str) -> Iterator[RedisNode]:
    """One server."""
    node = RedisNode(directory / "redis", free_ports(1)[0], lines)
    with _all_stopped([node]):
        node.wait_for_answer()
        yield node


class SentinelTrio:
    """A primary, two replicas of it, and three Sentinels that call the primary ``shop``."""

    NAME = "shop"

    def __init__(self, directory: Path) -> None:
        ports = free_ports(6)
        primary = ports[0]
        self.sentinels: list[RedisNode] = []
        self.servers = [
            RedisNode(directory / f"redis-{number}", port, ["repl-diskless-sync-delay 0", *replica])
            for number, (port, replica) in enumerate(
                zip(ports[:3], ([], *[[f"replicaof {HOST} {primary}"]] * 2), strict=True)
            )
        ]
        self._directory, self._sentinel_ports = directory, ports[3:]
        self._watch = [
            f"sentinel monitor {self.NAME} {HOST} {primary} 2",
            f"sentinel down-after-milliseconds {self.NAME} 500",
            f"sentinel failover-timeout {self.NAME} 2000",
        ]

    @property
    def all(self) -> list[RedisNode]:
        return [*self.servers, *self.sentinels]

    @property
    def places(self) -> str:
        return ",".join(f"{HOST}:{each.port}" for each in self.sentinels)

    @property
    def url(self) -> str:
        return f"redis://{self.places}/0?sentinel={self.NAME}"

    def primary(self) -> RedisNode:
        """The server that the first Sentinel calls the primary."""
        _, port = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
        return next(each for each in self.servers if each.port == int(port))

    def wait_until_ready(self) -> None:
        """Until both replicas follow and all Sentinels know each other and them."""
        for each in self.servers:
            each.wait_for_answer()
        primary = self.servers[0].client
        wait_until(
            lambda: sum("online" in str(value) for value in primary.info("replication").values()) == 2,
            what="both replicas follow",
        )
        # Only now: a Sentinel looks for replicas when it starts, and then every ten seconds.
        self.sentinels += [
            RedisNode(self._directory / f"sentinel-{number}", port, self._watch, sentinel=True)
            for number, port in enumerate(self._sentinel_ports)
        ]
        for each in self.sentinels:
            each.wait_for_answer()

        def known(sentinel: RedisNode) -> bool:
            masters: Any = sentinel.client.sentinel_masters()
            state = masters[self.NAME]
            return (int(state["num-slaves"]), int(state["num-other-sentinels"])) == (2, 2)

        wait_until(lambda: all(map(known, self.sentinels)), what="the Sentinels know each other and the replicas")


@contextmanager
def sentinel_trio(directory: Path) -> Iterator[SentinelTrio]:
    trio = SentinelTrio(directory)
    try:
        trio.wait_until_ready()
        yield trio
    finally:
        for node in trio.all:
            node.stop()


class RedisCluster:
    """Three primaries that share the slots, and one replica of the node that keeps a hash tag."""

    def __init__(self, directory: Path, *, tag: str) -> None:
        ports = free_ports(8)
        lines = ["cluster-enabled yes", "cluster-node-timeout 1000", "repl-diskless-sync-delay 0"]
        self.nodes = [
            RedisNode(directory / f"node-{number}", port, [*lines, f"cluster-port {bus}"])
            for number, (port, bus) in enumerate(zip(ports[:4], ports[4:], strict=True))
        ]
        self._buses = dict(zip(ports[:4], ports[4:], strict=True))
        self._tag = tag

    def join(self) -> None:
        """Make a cluster of them, and wait until it serves."""
        for node in self.nodes:
            node.wait_for_answer()
        first, *others = self.nodes
        shares = [(0, 5_461), (5_462, 10_922), (10_923, SLOTS - 1)]
        for epoch, node in enumerate(self.nodes, start=1):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node, (low, high) in zip(self.nodes, shares, strict=False):
            node.command("CLUSTER", "ADDSLOTSRANGE", low, high)
        for node in others:
            first.command("CLUSTER", "MEET", HOST, node.port, self._buses[node.port])

        def knows_all(node: RedisNode) -> bool:
            lines = node.command("CLUSTER", "INFO").decode().split()
            return "cluster_known_nodes:4" in lines and "cluster_state:ok" in lines

        wait_until(lambda: all(map(knows_all, self.nodes)), what="the nodes know each other")
        replica, keeper = self.nodes[3], self.keeper()
        replica.command("CLUSTER", "REPLICATE", self.id_of(keeper))
        wait_until(
            lambda: replica.client.info("replication").get("master_link_status") == "up", what="the replica follows"
        )

    def keeper(self) -> RedisNode:
        """The primary of the tag's slot, as the cluster has it now."""
        for node in self.nodes:
            try:
                node.client.get(f"{{{self._tag}}}:primary")
            except redis.RedisError:  # it has moved away, or the node is dead
                continue
            return node
        raise AssertionError("no node keeps the slot")

    def id_of(self, node: RedisNode) -> str:
        return str(node.command("CLUSTER", "MYID").decode())

    def url_of(self, *nodes: RedisNode) -> str:
        """An address that names these nodes, or all."""
        places = ",".join(f"{HOST}:{each.port}" for each in nodes or self.nodes)
        return f"redis://{places}?cluster=yes"


@contextmanager
def redis_cluster(directory: Path, *, tag: str) -> Iterator[RedisCluster]:
    cluster = RedisCluster(directory, tag=tag)
    with _all_stopped(cluster.nodes):
        cluster.join()
        yield cluster
