from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from weighbridge import Decision, Facts, Lane
from weighbridge.decision import BrokerReading, InProcessReading, LoopReading

READINGS = (InProcessReading(1, 2, 3), LoopReading(12.5, 0.02), BrokerReading(True, 3, 0.5))
FACTS = Facts("app.render", 80.0, 100, "heavy", -1, ("pdf",), True, *READINGS)


def test_a_decision_is_made_by_position_or_by_keyword() -> None:
    by_position = Decision(Lane.QUEUE, "because it is night", "night shift")

    assert by_position == Decision(lane=Lane.QUEUE, reason="because it is night", rule="night shift")
    assert (by_position.lane, by_position.reason, by_position.rule) == (
        Lane.QUEUE,
        "because it is night",
        "night shift",
    )


def test_facts_are_made_by_position_or_by_keyword() -> None:
    assert (
        Facts(
            name="app.render",
            weight=80.0,
            payload_bytes=100,
            queue="heavy",
            priority=-1,
            tags=("pdf",),
            is_async=True,
            in_process=InProcessReading(running=1, waiting=2, threads_free=3),
            loop=LoopReading(lag_ms=12.5, age_s=0.02),
            broker=BrokerReading(available=True, waiting=3, age_s=0.5),
        )
        == FACTS
    )


@pytest.mark.parametrize("value", [FACTS, *READINGS])
def test_facts_and_readings_cannot_be_changed(value: Facts | InProcessReading) -> None:
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)


@pytest.mark.parametrize("value", [FACTS, *READINGS])
def test_facts_and_readings_can_be_copied_pickled_and_compared(value: Facts | InProcessReading) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value
    assert replace(value) == value
    assert value != type(value)()
    assert hash(value) == hash(replace(value))


@pytest.mark.parametrize("lane", Lane)
def test_a_lane_says_what_becomes_of_a_call_in_it(lane: Lane) -> None:
    assert lane.meaning.startswith("The call ")
    assert lane.meaning.endswith(".")
