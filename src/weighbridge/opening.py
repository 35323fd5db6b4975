"""From the settings to a broker and the two open lanes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from weighbridge.errors import BrokerError, BrokerNotConfiguredError, DispatcherError
from weighbridge.events import emit
from weighbridge.handover import NoHandOver, QueueHandOver
from weighbridge.lanes.in_process import HandOver, InProcessLane, OnError
from weighbridge.outlook import crossing_tasks
from weighbridge.settings import Settings
from weighbridge.shadow import Recorder, ShadowStore, store_beside, store_in_file
from weighbridge.task import Registry

if TYPE_CHECKING:
    import dramatiq

    from weighbridge.lanes.queue import QueueLane
    from weighbridge.lanes.queue.checkup import StartCheck

logger: Final = logging.getLogger("weighbridge.shadow")

IN_MEMORY: Final = "shadow.in_memory"


def connected(settings: Settings) -> dramatiq.Broker:
    """The broker of the settings. Without I/O.

    :raises BrokerNotConfiguredError: if there is none.
    :raises SettingsError, BrokerError: if its address cannot be used.
    """
    if settings.broker_url is None:
        raise BrokerNotConfiguredError(
            problem="a queue needs a broker, and none is configured",
            remedy="set WEIGHBRIDGE_BROKER_URL, or give Dispatcher(broker_url=…)",
        )
    from weighbridge.lanes.queue import connect  # noqa: PLC0415  # a service without a queue never loads Dramatiq

    return connect(
        settings.broker_url,
        namespace=settings.namespace,
        timeout_s=settings.enqueue_timeout_s,
        lease_s=settings.lease_s,
        arguments_limit_bytes=settings.arguments_limit_bytes,
    )


async def open_queue(
    settings: Settings, *, broker: dramatiq.Broker | None, registry: Registry, stack: AsyncExitStack
) -> QueueLane | None:
    """The open queue lane over ``broker``, else over that of the settings; ``None`` if there is neither.

    ``stack`` closes it, and the broker too if it was made here. What the broker is set up to break is logged soon.

    :raises BrokerError, DuplicateTaskError: if the broker cannot be used, or a task cannot be bound to it.
    """
    if broker is None and settings.broker_url is None:
        return None
    # On a thread: loading Dramatiq and a client library reads a hundred files.
    queue, start_check = await anyio.to_thread.run_sync(_made, settings, broker, registry)
    queue.open()

    async def close() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(queue.close, limiter=_of_its_own())

    stack.push_async_callback(close)
    start_check.start()
    stack.callback(start_check.stop)
    return queue


def _made(settings: Settings, broker: dramatiq.Broker | None, registry: Registry) -> tuple[QueueLane, StartCheck]:
    from weighbridge.lanes.queue import QueueLane  # noqa: PLC0415  # as in connected()
    from weighbridge.lanes.queue.checkup import StartCheck  # noqa: PLC0415  # as in connected()

    used = connected(settings) if broker is None else broker
    queue = QueueLane(
        broker=used,
        timeout_s=settings.enqueue_timeout_s,
        waiting_limit=settings.publisher_waiting,
        close_broker=broker is None,
        arguments_limit_bytes=settings.arguments_limit_bytes,
    )
    for spec in crossing_tasks(registry):
        queue.bind(spec)
    return queue, StartCheck(used)


async def open_recorder(
    recorder: Recorder | None, *, settings: Settings, queue: QueueLane | None, stack: AsyncExitStack
) -> None:
    """Have the shadow's counts kept until ``stack`` closes it: in the file of the settings, else by the broker.

    :raises SettingsError: if the file cannot be used.
    """
    store = None if recorder is None else await anyio.to_thread.run_sync(_store, settings, queue)
    if recorder is None:
        return
    if store is None:
        emit(logger, IN_MEMORY, level=logging.WARNING, remedy="set shadow_file, or a Redis or Valkey as broker_url")
        return
    recorder.start(store)

    async def stop() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(recorder.stop, limiter=_of_its_own())

    stack.push_async_callback(stop)


def _store(settings: Settings, queue: QueueLane | None) -> ShadowStore | None:
    if settings.shadow_file is None:
        return None if queue is None else store_beside(queue.broker)
    file = store_in_file(settings.shadow_file)
    file.check()
    return file


async def open_in_process(
    settings: Settings,
    *,
    queue: QueueLane | None,
    registry: Registry,
    on_error: OnError | None,
    stack: AsyncExitStack,
) -> InProcessLane:
    """The open in-process lane, which hands over to ``queue`` what waits when ``stack`` closes it."""
    hand_over: HandOver = NoHandOver(registry=registry)
    if queue is not None:
        hand_over = QueueHandOver(
            queue,
            registry=registry,
            arguments_limit_bytes=settings.arguments_limit_bytes,
            clock=time.monotonic,
        )
    lane = InProcessLane(
        threads=settings.in_process_threads,
        running_limit=settings.in_process_running,
        waiting_limit=settings.in_process_waiting,
        admission_timeout_s=settings.admission_timeout_s,
        drain_timeout_s=settings.drain_timeout_s,
        clock=time.monotonic,
        hand_over=hand_over,
        on_error=on_error,
    )
    return await stack.enter_async_context(lane)


def settings_from(settings: Settings | None, arguments: Mapping[str, Any], **policies: object) -> Settings:
    """Ready-made settings, or those that are found; changed by single arguments, and by policies that have a name.

    :raises SettingsError: for an argument that is no setting, or has a value that its setting cannot have.
    """
    changes = {**arguments, **{name: given for name, given in policies.items() if isinstance(given, str)}}
    if settings is None:
        return Settings(**changes)
    return settings.with_changes(**changes) if changes else settings


def refuse_uncallable(**given: tuple[object, str]) -> None:
    """Refuse what was given under a name to be called, and cannot be; with what is needed in its place.

    :raises DispatcherError: for the first such argument.
    """
    for name, (value, needed) in given.items():
        if value is not None and not callable(value):
            raise DispatcherError(
                problem=f"{name} is a {type(value).__name__}, which cannot be called",
                remedy=f"pass the function itself, {needed}",
            )


def _of_its_own() -> anyio.CapacityLimiter:
    """A limiter for one thread: the app's threads may all be taken, by calls that nobody waits for at shutdown."""
    return anyio.CapacityLimiter(1)


async def report_unreachable(queue: QueueLane) -> None:
    """A broker that is down is no outage of the service, so the start does not wait for it; the lane logs it."""
    with suppress(BrokerError):
        await anyio.to_thread.run_sync(queue.ping, abandon_on_cancel=True)
