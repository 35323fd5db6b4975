"""The policies that come with the package: what they promise, beside the examples that they carry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import weighbridge
from weighbridge.decision import BrokerReading, Facts, InProcessReading, Lane, LoopReading
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
    assert {path.name for path in FOLDER.iterdir()} == {
        "policy.schema.json",
        *(f"{name}.toml" for name in shipped_names()),
    }


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_file_says_for_whom_it_is_and_shows_it(name: str) -> None:
    header = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").partition("\nschema")[0]
    assert header.startswith(f"#:schema policy.schema.json\n# {name}: ")
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


AWAY, THERE = BrokerReading(available=False), BrokerReading(available=True)
#: Calls of each kind, on both sides of what makes them heavy, and of what is worth a message.
KINDS = [
    Facts(weight=weight, is_async=is_async)
    for weight in (0.0, 0.9, 1.0, 4.9, 5.0, 49.9, 50.0)
    for is_async in (False, True)
]


def is_heavy(facts: Facts) -> bool:
    return shipped("by-weight").decide(facts).lane is Lane.QUEUE


@pytest.mark.parametrize("facts", KINDS)
@pytest.mark.parametrize("broker", [AWAY, THERE, BrokerReading()])
def test_protect_latency_decides_about_a_process_in_time_as_by_weight_does(facts: Facts, broker: BrokerReading) -> None:
    in_time = replace(
        facts,
        in_process=InProcessReading(running=0, waiting=7, threads_free=8),
        loop=LoopReading(lag_ms=19.9),
        broker=broker,
    )
    assert shipped("protect-latency").decide(in_time).lane is shipped("by-weight").decide(in_time).lane


@pytest.mark.parametrize("facts", KINDS)
@pytest.mark.parametrize("running", [1, 7])
def test_protect_latency_keeps_only_what_is_short_beside_a_running_call(facts: Facts, running: int) -> None:
    beside = replace(
        facts,
        in_process=InProcessReading(running=running, waiting=7, threads_free=8 - running),
        loop=LoopReading(lag_ms=19.9),
        broker=THERE,
    )
    assert (shipped("protect-latency").decide(beside).lane is Lane.IN_PROCESS) == (facts.weight < 5)


@pytest.mark.parametrize("facts", KINDS)
@pytest.mark.parametrize("broker", [AWAY, BrokerReading()])
def test_protect_latency_asks_no_more_of_a_broker_that_may_be_away_than_by_weight_does(
    facts: Facts, broker: BrokerReading
) -> None:
    late = replace(OVERLOADED, weight=facts.weight, is_async=facts.is_async, broker=broker)
    assert (shipped("protect-latency").decide(late).lane is Lane.QUEUE) == is_heavy(late)


@pytest.mark.parametrize("facts", KINDS)
def test_protect_latency_sends_away_from_a_late_process_whatever_is_worth_a_message(facts: Facts) -> None:
    late = replace(OVERLOADED, weight=facts.weight, is_async=facts.is_async, broker=THERE)
    assert (shipped("protect-latency").decide(late).lane is Lane.QUEUE) == (facts.weight >= 1)


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (Facts(weight=50.0, loop=LoopReading(lag_ms=90.0), broker=THERE), "heavy work is queued"),
        (Facts(weight=5.0, in_process=InProcessReading(running=1), broker=THERE), "another call runs here"),
        (Facts(weight=1.0, loop=LoopReading(lag_ms=20.0), broker=THERE), "the event loop is late"),
        (Facts(weight=1.0, in_process=InProcessReading(threads_free=0), broker=THERE), "no thread is free"),
        (Facts(weight=1.0, in_process=InProcessReading(waiting=8), broker=THERE), "many calls wait here"),
        (OVERLOADED, "otherwise"),
    ],
)
def test_protect_latency_tells_what_was_late(facts: Facts, rule: str) -> None:
    assert shipped("protect-latency").decide(facts).rule == rule


def test_protect_latency_needs_no_broker_for_tasks_that_are_not_worth_a_message() -> None:
    policy = shipped("protect-latency")
    assert policy.possible_lanes({"weight": 0.9}) == {Lane.IN_PROCESS}
    assert policy.possible_lanes({"weight": 1.0}) == {Lane.IN_PROCESS, Lane.QUEUE}
    assert policy.possible_lanes({"weight": 50.0}) == {Lane.QUEUE}


@pytest.mark.parametrize("facts", KINDS)
def test_durability_first_queues_what_does_not_say_that_it_may_be_lost(facts: Facts) -> None:
    for broker in (AWAY, THERE, BrokerReading()):
        for tags in ((), ("cache",), ("not-ephemeral",)):
            assert shipped("durability-first").decide(replace(facts, tags=tags, broker=broker)).lane is Lane.QUEUE


@pytest.mark.parametrize("facts", KINDS)
def test_durability_first_keeps_what_may_be_lost_unless_by_weight_would_queue_it(facts: Facts) -> None:
    for broker in (AWAY, THERE, BrokerReading()):
        marked = replace(facts, tags=("cache", "ephemeral"), broker=broker)
        assert (shipped("durability-first").decide(marked).lane is Lane.QUEUE) == is_heavy(marked)


def test_durability_first_looks_at_the_task_alone_so_the_outlook_of_each_is_one_lane() -> None:
    policy = shipped("durability-first")
    assert policy.reads == {"tags", "weight", "is_async"}
    assert policy.possible_lanes({"tags": ()}) == {Lane.QUEUE}
    light = {"tags": ("ephemeral",), "weight": 1.0, "is_async": False}
    assert policy.possible_lanes(light) == {Lane.IN_PROCESS}


@pytest.mark.parametrize("name", shipped_names())
def test_each_rule_of_a_shipped_policy_and_its_last_word_decides_an_example(name: str) -> None:
    policy = shipped(name)
    decided = {policy.decide(example.facts).rule for example in policy.examples}
    assert decided == {*(rule.name for rule in policy.rules), "otherwise"}


@pytest.mark.parametrize(("name", "lane"), [("all-in-process", Lane.IN_PROCESS), ("all-queued", Lane.QUEUE)])
def test_a_policy_for_all_calls_has_one_lane(name: str, lane: Lane) -> None:
    assert shipped(name).possible_lanes({}) == {lane}
