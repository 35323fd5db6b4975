"""A Dramatiq broker over Redis Streams: it wakes its workers, and no message is lost with a process."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import dramatiq
import redis
from dramatiq.errors import QueueJoinTimeout, QueueNotFound
from redis.cluster import RedisCluster

from weighbridge.lanes.queue.keeper import Keeper
from weighbridge.lanes.queue.keys import MARKER_TTL_S, QueueKeys
from weighbridge.lanes.queue.leases import Leases
from weighbridge.lanes.queue.leasing import LeasingBroker
from weighbridge.lanes.queue.message_options import MessageOptions
from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.patient_client import PatientClient
from weighbridge.lanes.queue.primary import plain_client
from weighbridge.lanes.queue.replicated_script import ReplicatedScript
from weighbridge.lanes.queue.scripts import Scripts
from weighbridge.lanes.queue.server_clock import ServerClock
from weighbridge.lanes.queue.solo import Solo
from weighbridge.lanes.queue.stream_consumer import StreamConsumer
from weighbridge.lanes.queue.stream_message import StreamMessage, largest_body
from weighbridge.lanes.queue.stream_queue import StreamQueue, Write
from weighbridge.lanes.queue.stream_writer import StreamWriter, as_written
from weighbridge.lanes.queue.triage import Triage
from weighbridge.settings import DEFAULT_ARGUMENTS_LIMIT_BYTES

#: Seconds between two looks of :meth:`StreamsBroker.join`, which is for tests.
JOIN_INTERVAL_S: Final = 0.01
#: Milliseconds for which a probe's mark stays.
PROBE_TTL_MS: Final = 1_000
#: The share of a lease after which its holder asks before it starts a run: a renewal every third leaves two tries.
SURE_SHARE: Final = 2 / 3


class StreamsBroker(LeasingBroker):
    """A broker for Dramatiq's own worker and middleware, on Redis 7 or Valkey, through Dramatiq's public names alone.

    *Writing.* A message is written at most once for each attempt of it (its id, and the number of its retries), for
    ``marker_ttl_s`` seconds: writing it again does nothing, whether or not it has run by then. Who wants a second run
    of a message makes a new one.

    *Delays* end by the server's clock, some milliseconds late with an idle worker, at most 2 s late if the process
    that knew the time has died.

    *Fetching.* A worker holds a message for ``lease_s`` seconds of the server's clock and renews that every third of
    it, so a message is offered again at most ``1.2 * lease_s`` after its worker was killed (a second of block time
    more if all others are busy). A worker that has lost its lease writes neither a retry nor a dead letter; its success
    ends the message all the same.

    *Retries.* A message that this process holds and that is enqueued again is written in the one step that ends the
    run: so a retry is neither lost nor doubled if the server is away, and :meth:`enqueue` then does no I/O.

    *Dead letters* are kept for ``dead_ttl_s`` seconds (7 days).

    :param client: For writing; its time-outs are those of a write. It stays the caller's, who closes it. A worker's
        commands get connections of their own to the same server, which wait longer (see ``patient_client.py``).
        Of a ``RedisCluster`` only the nodes and options are taken: :attr:`client` goes to the node of the namespace.
    :param namespace: What all keys start with (``keys.py`` lists them); in a cluster, with a hash tag.
    :param middleware: ``None``: what weighbridge gives to a broker that it makes from an address.
    :param replicas: How many replicas must have a message before its write counts. A write that fewer have confirmed in
        time raises redis-py's ``TimeoutError``; writing again is safe.
    :param arguments_limit_bytes: What the arguments of one call may be; a worker decodes no message far above it.
    :param message_options: Options that pass from a message to the middleware, beside those that Dramatiq's and any
        middleware's ``actor_options`` name (``message_options.py`` has the rules).
    :raises BrokerError: if ``client`` decodes its replies, or a cluster would spread the namespace over its nodes.
    """

    def __init__(
        self,
        *,
        client: redis.Redis | RedisCluster,
        namespace: str = "weighbridge",
        middleware: list[dramatiq.Middleware] | None = None,
        lease_s: float = 15.0,
        dead_ttl_s: float = 7 * 86_400,
        marker_ttl_s: float = MARKER_TTL_S,
        replicas: int = 0,
        arguments_limit_bytes: int = DEFAULT_ARGUMENTS_LIMIT_BYTES,
        message_options: Iterable[str] = (),
    ) -> None:
        super().__init__(middleware=default_middleware() if middleware is None else middleware)
        self.client = plain_client(client, namespace=namespace)
        self._made_client = self.client is not client
        self.namespace = namespace
        self.lease_s = lease_s
        self.dead_ttl_s = dead_ttl_s
        self.marker_ttl_s = marker_ttl_s
        self._body_limit_bytes = largest_body(arguments_limit_bytes)
        self._options = MessageOptions(self, extra=message_options)
        #: This process in the group: the host and the process id are for people, the rest makes it one of its kind.
        self.consumer_name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.queues: dict[str, StreamQueue] = {}
        self._scripts = Scripts(self.client)
        self._leases: dict[str, Leases] = {}
        self._solo = Solo()
        #: By which the age of messages is judged, whatever the clocks of web and worker hosts say.
        self.clock = ServerClock(self.client)
        self._probe = ReplicatedScript(self._scripts.probe, client=self.client, replicas=replicas)
        self._writer = StreamWriter(
            script=ReplicatedScript(self._scripts.enqueue, client=self.client, replicas=replicas),
            keys_of=lambda queue: self._queue(queue).keys,
            now_ms=self.clock.now_ms,
            marker_ttl_s=marker_ttl_s,
        )
        #: Called at least every third of a lease while a worker runs here, by a thread of its own.
        self.pulse: Callable[[], None] | None = None
        self._keeper: Keeper | None = None
        self._working = PatientClient(self.client)
        self._opening = threading.Lock()  # Dramatiq's worker opens the consumers of its queues at the same time

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue. No I/O: a web process declares its queues while the server may be down.

        :raises QueueNameError: if its name has a character that queue names cannot have.
        """
        if queue_name in self.queues:
            return
        queue = self._queue(queue_name)
        self.emit_before("declare_queue", queue_name)
        self.queues[queue_name] = queue
        self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Write a message, to be run after ``delay`` milliseconds.

        A message that this process holds is written when its run ends, with its acknowledgement: see the class.

        Raises redis-py's errors as :meth:`enqueue_many` does.
        """
        leases = self._leases.get(message.queue_name)
        if leases is None:
            return self.enqueue_many([(message, delay)])[0]
        message = as_written(message)
        self.emit_before("enqueue", message, delay)
        write = Write(body=message.encode(), delay_ms=delay or 0)
        if not leases.add_follow_up(message, write, message_id=message.message_id):
            message = self._dated(message)
            self._writer.write([(message, Write(body=message.encode(), delay_ms=write.delay_ms))])
        self.emit_after("enqueue", message, delay)
        return message

    def enqueue_many(self, messages: Sequence[tuple[dramatiq.Message[Any], int | None]]) -> list[dramatiq.Message[Any]]:
        """Write messages, each after its delay in milliseconds, in one step and one round trip: all, or none.

        ``before_enqueue`` is emitted for all, then they are written, then ``after_enqueue`` is emitted for each. The
        order is kept. Writing them again does nothing for those that are there already (or were, and have run).

        Raises redis-py's errors as they are. After an answer that refuses the write as a whole (out of memory, read
        only, loading) or a refused connection nothing was written; after a time-out or a lost connection that is
        unknown, and writing again is safe.

        :raises QueueNameError: if a message names a queue that cannot exist.
        """
        prepared = [(self._dated(as_written(message)), delay) for message, delay in messages]
        for message, delay in prepared:
            self.emit_before("enqueue", message, delay)
        self._writer.write(
            [(message, Write(body=message.encode(), delay_ms=delay or 0)) for message, delay in prepared]
        )
        for message, delay in prepared:
            self.emit_after("enqueue", message, delay)
        return [message for message, _ in prepared]

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> StreamConsumer:
        """A consumer that holds at most ``prefetch`` messages and waits ``timeout`` milliseconds for one. No I/O.

        :raises dramatiq.errors.QueueNotFound: if the queue was not declared.
        """
        queue = self.queues.get(queue_name)
        if queue is None:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq does not type it
        with self._opening:
            leases = self._leases.get(queue_name)
            if leases is None:
                client = self._working.client
                queue = StreamQueue(
                    client=client, scripts=Scripts(client), keys=queue.keys, consumer=self.consumer_name
                )
                leases = self._leases[queue_name] = Leases(queue, solo=self._solo)
            if self._keeper is None:
                self._keeper = Keeper(lease_s=self.lease_s, pulse=self.pulse)
                self._keeper.start()
            keeper = self._keeper
        keeper.watch(leases)
        triage = Triage(
            queue=queue_name,
            options=self._options,
            knows=self.actors.__contains__,
            body_limit_bytes=self._body_limit_bytes,
            dead_ttl_s=self.dead_ttl_s,
        )
        return StreamConsumer(
            leases=leases,
            keeper=keeper,
            solo=self._solo,
            reader=PatientClient(self.client, block_s=timeout / 1000),
            triage=triage,
            prefetch=prefetch,
            lease_s=self.lease_s,
        )

    def may_start(self, message: StreamMessage) -> bool:
        """As :class:`LeasingBroker` says."""
        leases = self._leases.get(message.queue_name)
        if leases is None:
            return True
        try:
            sure = leases.is_sure(message.entry_id, within_s=self.lease_s * SURE_SHARE)
        except redis.RedisError:  # so it cannot be run twice; this process fetches it anew when the server is back
            sure = False
        if not sure:
            leases.forsake(message.entry_id)
        return sure

    def ping(self) -> None:
        """Ask the server for an answer. Raises redis-py's errors if there is none."""
        self.client.ping()

    def probe(self, queue_name: str) -> None:
        """Write as :meth:`enqueue` would, by a script with a mark in the queue's slot, which is gone after a second.

        Raises redis-py's errors where a write into this queue would: a server that answers :meth:`ping` may refuse it.
        """
        keys = self._queue(queue_name).keys
        self._probe([keys.mark("probe", 0)], [PROBE_TTL_MS])

    def waiting(self, queue_name: str) -> int:
        """Messages that could be fetched now and that no worker holds.

        Delayed ones count from the moment they are due. The number is exact but for a moment after a short delay.
        """
        return self._queue(queue_name).waiting()

    def flush(self, queue_name: str) -> None:
        """Drop a queue's messages, the delayed ones too; runs go on, dead letters stay.

        :raises dramatiq.errors.QueueNotFound: if the queue was not declared.
        """
        queue = self.queues.get(queue_name)
        if queue is None:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq does not type it
        queue.drop_all()

    def flush_all(self) -> None:
        """Drop the messages of all declared queues."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until a queue is empty: nothing waits, is delayed (retries too) or runs. For tests; it polls.

        :param timeout: Milliseconds to wait. ``None``: for ever.
        :raises dramatiq.errors.QueueJoinTimeout: if the queue is not empty by then.
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout / 1000
        queue = self._queue(queue_name)
        while queue.unsettled():
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq does not type it
            time.sleep(JOIN_INTERVAL_S)

    def close(self) -> None:
        """Stop renewing leases: call it when the worker has stopped. The caller's client stays open."""
        with self._opening:
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()
            keeper.join()
        self._working.close()
        if self._made_client:
            self.client.close()

    def _queue(self, queue_name: str) -> StreamQueue:
        queue = self.queues.get(queue_name)
        if queue is not None:
            return queue
        return StreamQueue(
            client=self.client,
            scripts=self._scripts,
            keys=QueueKeys(namespace=self.namespace, queue=queue_name),
            consumer=self.consumer_name,
        )

    def _dated(self, message: dramatiq.Message[Any]) -> dramatiq.Message[Any]:
        actor = self.actors.get(message.actor_name)
        return self._writer.dated(message, limited=actor is not None and bool(actor.options.get("max_age")))
