"""The policies that come with the package: what they promise, beside the examples that they carry."""

from __future__ import annotations

from dataclasses import replace
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


@pytest.mark.parametrize(("waiting", "lane"), [(7, Lane.IN_PROCESS), (8, Lane.QUEUE)])
def test_spill_over_queues_the_call_that_would_be_the_ninth_to_wait(waiting: int, lane: Lane) -> None:
    facts = Facts(weight=1.0, in_process=InProcessReading(running=8, waiting=waiting, threads_free=0))
    assert shipped("spill-over").decide(facts).lane is lane


def test_spill_over_tells_a_light_task_why_it_is_queued() -> None:
    assert shipped("spill-over").decide(OVERLOADED).reason == (
        "policy spill-over, rule 'spill over while this process is busy': in_process.waiting >= 8"
    )


def test_spill_over_decides_about_an_idle_process_as_by_weight_does() -> None:
    for facts in (example.facts for example in shipped("by-weight").examples):
        idle = replace(facts, in_process=InProcessReading(threads_free=8))
        assert shipped("spill-over").decide(idle).lane is shipped("by-weight").decide(idle).lane


def test_spill_over_reads_counters_of_this_process_and_nothing_that_has_to_be_sampled() -> None:
    assert shipped("spill-over").reads == {"weight", "is_async", "in_process.waiting"}


@pytest.mark.parametrize(("name", "lane"), [("all-in-process", Lane.IN_PROCESS), ("all-queued", Lane.QUEUE)])
def test_a_policy_for_all_calls_has_one_lane(name: str, lane: Lane) -> None:
    assert shipped(name).possible_lanes({}) == {lane}
