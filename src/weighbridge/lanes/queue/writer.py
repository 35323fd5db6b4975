"""How messages get into a broker: all of a group in one atomic write where it can, else one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

import dramatiq

from weighbridge.lanes.queue.failure import Failure, unreached, unwritten
from weighbridge.lanes.queue.primary import address_of

#: A message, and the milliseconds for which it is delayed (``None``: not at all).
Item = tuple[dramatiq.Message[Any], int | None]


class Writer:
    """Writes one by one, through the public ``enqueue`` of any Dramatiq broker.

    All but :meth:`ping` belong to one thread, the publisher's.
    """

    #: Messages that may stand in one write, beside those of its first request. One: each request by itself.
    group_limit: ClassVar[int] = 1
    #: Whether a repeated write leaves no second message.
    idempotent: ClassVar[bool] = False
    #: Seconds after which an idle connection wants :meth:`keep_alive`. ``None``: never.
    idle_s: ClassVar[float | None] = None

    def __init__(self, broker: dramatiq.Broker) -> None:
        self._broker = broker

    @property
    def address(self) -> str:
        """The broker as logs and errors name it, without user and password."""
        return address_of(getattr(self._broker, "client", None)) or type(self._broker).__name__

    def reach(self, items: Sequence[Item]) -> Failure | None:
        """Have a live connection for these, so that what fails here has certainly failed before the write."""
        try:
            self._reach(items)
        except Exception as error:  # noqa: BLE001  # translated: no exception of a broker's library gets further
            return unreached(error, address=self.address)
        return None

    def write(self, items: Sequence[Item]) -> Failure | None:
        """Write these messages; ``None`` if the broker has all of them."""
        for written, (message, delay_ms) in enumerate(items):
            try:
                self._broker.enqueue(message, delay=delay_ms)
            except Exception as error:  # noqa: BLE001  # as above
                failure = unwritten(error, address=self.address)
                if not written:
                    return failure
                problem = f"{written} of the request's {len(items)} calls are in the queue, then {failure.problem}"
                return Failure(problem=problem, unknown=True, own=failure.own, cause=error)
        return None

    def keep_alive(self) -> None:
        """Do what an idle connection needs."""

    def ping(self) -> None:
        """Ask the broker for an answer, on any thread. Raises what its library raises.

        A broker that has no means for this counts as there.
        """
        for holder in (self._broker, getattr(self._broker, "client", None)):
            ping = getattr(holder, "ping", None)
            if callable(ping):
                ping()
                return

    def probe(self, queues: Collection[str]) -> Failure | None:
        """Find out, without a trace, whether the broker would take a write into these queues; ``None``: it would.

        A broker of which nothing is known but that it can be pinged is pinged.
        """
        failure = self.reach(())
        if failure is not None:
            return failure
        try:
            self._probe(queues)
        except Exception as error:  # noqa: BLE001  # as above
            return unwritten(error, address=self.address)
        return None

    def drop(self) -> None:
        """After a failure of the broker: let the next exchange have a new connection.

        The old one may lead to a primary that is a replica by now, and stay alive for ever.
        """
        pool = getattr(getattr(self._broker, "client", None), "connection_pool", None)
        if pool is not None:
            try:
                pool.disconnect(inuse_connections=False)
            except TypeError:  # redis-py 6: its BlockingConnectionPool knows only all or nothing
                pool.disconnect()

    def close(self) -> None:
        """Close what belongs to the writer's thread."""

    def _probe(self, _queues: Collection[str]) -> None:
        self.ping()

    def _reach(self, _items: Sequence[Item]) -> None:
        pool = getattr(getattr(self._broker, "client", None), "connection_pool", None)
        if pool is not None:
            pool.release(pool.get_connection())


class GroupWriter(Writer):
    """One atomic, idempotent write for a whole group, by a broker that has ``enqueue_many``."""

    group_limit = 500
    idempotent = True

    def __init__(self, broker: dramatiq.Broker, *, enqueue_many: Callable[[Sequence[Item]], object]) -> None:
        super().__init__(broker)
        self._enqueue_many = enqueue_many
        self._probe_queue = getattr(broker, "probe", None)

    def _probe(self, queues: Collection[str]) -> None:
        if not callable(self._probe_queue):
            super()._probe(queues)
            return
        for queue in queues:
            self._probe_queue(queue)

    def write(self, items: Sequence[Item]) -> Failure | None:
        """Write these messages, all or none; ``None`` if the broker has them."""
        try:
            self._enqueue_many(items)
        except Exception as error:  # noqa: BLE001  # as above
            return unwritten(error, address=self.address)
        return None
