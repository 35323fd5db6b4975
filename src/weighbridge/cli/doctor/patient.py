"""The patient: the broker to look at, and the app whose tasks are compared with the workers'."""

from __future__ import annotations

from dataclasses import dataclass, replace

import dramatiq

from weighbridge.dispatcher import Dispatcher
from weighbridge.lanes.queue import TypedActor
from weighbridge.lanes.queue.checkup import App
from weighbridge.lanes.queue.fingerprint import Fingerprint
from weighbridge.lanes.queue.middleware import TIME_LIMIT_MS
from weighbridge.settings import Settings
from weighbridge.worker.modules import find_dispatcher, import_modules
from weighbridge.worker.registration import versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """``place`` says where the dispatcher was found: ``module:name``, or ``settings``. ``ready``: whether the
    broker takes calls is all that is asked.
    """

    broker: dramatiq.Broker
    app: App
    modules: tuple[str, ...]
    place: str
    ready: bool = False


def all_of(named: tuple[str, ...], *, dispatcher: str | None) -> Patient:
    """From these modules, or those of the settings, or from the settings alone.

    :raises WeighbridgeError: if a module or the configuration cannot be used, or there is no broker.
    """
    modules = named or Settings().modules
    found, place = find_dispatcher(import_modules(modules), chosen=dispatcher)
    return _patient(found, modules=tuple(modules), place=place)


def broker_alone() -> Patient:
    """The broker of the settings, without a look at any module.

    :raises WeighbridgeError: if the configuration cannot be used, or there is no broker.
    """
    return replace(_patient(Dispatcher(), modules=(), place="settings"), ready=True)


def _patient(dispatcher: Dispatcher, *, modules: tuple[str, ...], place: str) -> Patient:
    broker = dispatcher.worker_broker()
    specs = [actor.spec for actor in broker.actors.values() if isinstance(actor, TypedActor)]
    limits_s = [TIME_LIMIT_MS / 1000 if spec.time_limit_s is None else spec.time_limit_s for spec in specs]
    app = App(
        tasks=tuple(sorted(map(Fingerprint.of, specs), key=lambda each: each.task)),
        versions=versions(),
        longest_run_s=max(limits_s, default=None),
    )
    return Patient(broker=broker, app=app, modules=modules, place=place)
