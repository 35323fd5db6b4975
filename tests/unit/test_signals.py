"""Signals reach every middleware that listens, and only then cost anything."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import MiddlewareError

from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.signals import SparingSignals

MESSAGE = dramatiq.Message[Any](queue_name="default", actor_name="f", args=(), kwargs={}, options={})


class SparingBroker(SparingSignals, StubBroker):
    """Dramatiq's own broker for tests, sparing."""


class Listener(dramatiq.Middleware):
    """Listens to two signals, one of them by another's method."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before_enqueue(self, broker: dramatiq.Broker, message: Any, delay: int | None) -> None:
        self.told.append(f"enqueue {message}")

    def after_ack(self, broker: dramatiq.Broker, message: Any) -> None:
        self.told.append(f"ack or nack {message}")

    after_nack = after_ack


class Rejecting(dramatiq.Middleware):
    def before_enqueue(self, broker: dramatiq.Broker, message: Any, delay: int | None) -> None:
        raise MiddlewareError("no")


def test_a_middleware_hears_what_it_listens_to() -> None:
    listener = Listener()
    broker = SparingBroker(middleware=[*default_middleware(), listener])
    broker.emit_before("enqueue", "a", None)
    broker.emit_after("enqueue", "a", None)
    broker.emit_after("ack", "b")
    broker.emit_after("nack", "c")
    assert listener.told == ["enqueue a", "ack or nack b", "ack or nack c"]


def test_a_hook_that_does_nothing_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def empty(name: str) -> Any:
        return lambda *args, **kwargs: called.append(name)

    for name in ("before_enqueue", "after_enqueue", "before_process_message"):
        monkeypatch.setattr(dramatiq.Middleware, name, empty(name))
    broker = SparingBroker(middleware=[Listener(), *default_middleware()])
    broker.emit_before("enqueue", "a", None)
    broker.emit_after("enqueue", "a", None)
    broker.emit_before("process_message", dramatiq.MessageProxy(MESSAGE))
    assert called == []


def test_after_hooks_come_in_the_opposite_order() -> None:
    told: list[str] = []
    first, second = Listener(), Listener()
    first.told = second.told = told
    first.after_ack = lambda *args: told.append("first")  # type: ignore[method-assign]  # as a user may
    second.after_ack = lambda *args: told.append("second")  # type: ignore[method-assign]  # as a user may
    SparingBroker(middleware=[first, second]).emit_after("ack", "a")
    assert told == ["second", "first"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hook_that_fails_is_told_and_stops_no_other(when: str, caplog: pytest.LogCaptureFixture) -> None:
    def fails(*args: Any) -> None:
        raise ValueError("broken")

    listener, broken = Listener(), dramatiq.Middleware()
    setattr(broken, f"{when}_enqueue", fails)
    listener.after_enqueue = lambda *args: listener.told.append("after")  # type: ignore[method-assign]  # as a user may
    broker = SparingBroker(middleware=[broken, listener] if when == "before" else [listener, broken])
    emit = broker.emit_before if when == "before" else broker.emit_after
    emit("enqueue", "a", None)
    assert len(listener.told) == 1
    assert f"failed in {when}_enqueue" in caplog.text
    assert "ValueError: broken" in caplog.text


def test_a_middleware_that_comes_or_goes_later_counts() -> None:
    listener = Listener()
    broker = SparingBroker(middleware=[])
    broker.emit_before("enqueue", "unheard", None)
    broker.add_middleware(listener)
    broker.emit_before("enqueue", "heard", None)
    broker.middleware.remove(listener)
    broker.emit_before("enqueue", "unheard", None)
    assert listener.told == ["enqueue heard"]


def test_a_hook_that_was_put_on_the_object_counts() -> None:
    told: list[Any] = []
    listener = dramatiq.Middleware()
    listener.before_enqueue = lambda *args: told.append(args[1])  # type: ignore[method-assign]  # as a user may
    SparingBroker(middleware=[listener]).emit_before("enqueue", "a", None)
    assert told == ["a"]


def test_a_rejection_is_raised() -> None:
    with pytest.raises(MiddlewareError):
        SparingBroker(middleware=[Rejecting()]).emit_before("enqueue", "a", None)


def test_a_middleware_without_the_hook_of_a_signal_is_told(caplog: pytest.LogCaptureFixture) -> None:
    SparingBroker(middleware=[Listener()]).emit_before("a_signal_of_ones_own", 1)
    assert "failed in before_a_signal_of_ones_own" in caplog.text
