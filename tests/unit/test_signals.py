"""Signals reach every middleware that listens, and only then cost anything."""

from __future__ import annotations

from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import MiddlewareError

from weighbridge.lanes.queue.middleware import default_middleware
from weighbridge.lanes.queue.signals import SparingSignals


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


def test_what_nobody_listens_to_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("sent")

    broker = SparingBroker(middleware=default_middleware())
    monkeypatch.setattr(dramatiq.Broker, "emit_before", fails)
    monkeypatch.setattr(dramatiq.Broker, "emit_after", fails)
    broker.emit_before("enqueue", "a", None)
    broker.emit_after("enqueue", "a", None)
    with pytest.raises(AssertionError, match="sent"):
        broker.emit_before("process_message", "a")


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


def test_a_signal_that_dramatiq_does_not_know_is_left_to_dramatiq(caplog: pytest.LogCaptureFixture) -> None:
    SparingBroker(middleware=[Listener()]).emit_before("a_signal_of_ones_own", 1)
    assert "Unexpected failure in before_a_signal_of_ones_own" in caplog.text
