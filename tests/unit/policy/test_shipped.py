"""The policies that come with the package: what they promise, beside the examples that they carry."""

from __future__ import annotations

from pathlib import Path

import pytest

import weighbridge
from weighbridge.decision import Facts, InProcessReading, Lane, LoopReading
from weighbridge.policy import RulePolicy, load_policy, shipped_names

FOLDER = Path(weighbridge.__file__).parents[2] / "policies"
#: Nothing in this process could be busier.
OVERLOADED = Facts(
    weight=49.9, in_process=InProcessReading(running=99, waiting=9_999, threads_free=0), loop=LoopReading(lag_ms=9e3)
)


def shipped(name: str) -> RulePolicy:
    policy = load_policy(name)
    assert isinstance(policy, RulePolicy)
    return policy


def test_every_file_of_the_folder_is_shipped() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.toml" for name in shipped_names()}


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_file_says_for_whom_it_is_and_shows_it(name: str) -> None:
    header = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").partition("\nschema")[0]
    assert header.startswith(f"# {name}: ")
    assert "\n# For: " in header
    assert "\n# Not for: " in header
    policy = shipped(name)
    assert policy.description
    assert len(policy.examples) >= 4
    assert Facts() in [example.facts for example in policy.examples]


def test_by_weight_never_queues_a_light_task_however_busy_this_process_is() -> None:
    policy = shipped("by-weight")
    assert policy.decide(OVERLOADED).lane is Lane.IN_PROCESS
    assert policy.possible_lanes({"weight": 4.9}) == {Lane.IN_PROCESS}
    assert policy.possible_lanes({"weight": 49.9, "is_async": False}) == {Lane.IN_PROCESS}


def test_by_weight_may_queue_a_task_whose_weight_depends_on_its_arguments() -> None:
    assert shipped("by-weight").possible_lanes({"is_async": False}) == {Lane.IN_PROCESS, Lane.QUEUE}


def test_by_weight_tells_a_heavy_task_why_it_is_queued() -> None:
    assert shipped("by-weight").decide(Facts(weight=200.0)).reason == (
        "policy by-weight, rule 'heavy work is queued': weight >= 50 or (is_async and weight >= 5)"
    )


@pytest.mark.parametrize(("name", "lane"), [("all-in-process", Lane.IN_PROCESS), ("all-queued", Lane.QUEUE)])
def test_a_policy_for_all_calls_has_one_lane(name: str, lane: Lane) -> None:
    assert shipped(name).possible_lanes({}) == {lane}
