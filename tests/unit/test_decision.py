from __future__ import annotations

from weighbridge import Decision, Lane


def test_a_decision_is_made_by_position_or_by_keyword() -> None:
    by_position = Decision(Lane.QUEUE, "because it is night", "night shift")

    assert by_position == Decision(lane=Lane.QUEUE, reason="because it is night", rule="night shift")
    assert (by_position.lane, by_position.reason, by_position.rule) == (
        Lane.QUEUE,
        "because it is night",
        "night shift",
    )
