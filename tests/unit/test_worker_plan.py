from __future__ import annotations

import pytest

from weighbridge.worker.control import ChildOptions, Share
from weighbridge.worker.plan import Plan, Queues

ALL, HEAVY, OTHER = Share.ALL, Share.HEAVY, Share.OTHER


def plan(
    *, cpus: int = 4, processes: int | None = None, threads: int | None = None, queues: tuple[str, ...] = ()
) -> Plan:
    options = ChildOptions(modules=("m",), dispatcher=None, queues=queues, threads=0, grace_s=7.5)
    return Plan(options=options, processes=processes, threads=threads, cpus=cpus)


def shares(children: list[ChildOptions]) -> list[Share]:
    return [each.share for each in children]


@pytest.mark.parametrize(
    ("weights", "heavy", "other"),
    [
        ({"default": [1.0]}, (), ("default",)),
        ({"heavy": []}, ("heavy",), ()),
        ({"heavy": [1.0], "default": [49.9], "b": [], "a": [0.0]}, ("heavy",), ("a", "b", "default")),
        ({"reports": [1.0, 50.0], "default": [1.0]}, ("reports",), ("default",)),
    ],
)
def test_a_queue_is_heavy_by_its_name_or_by_a_heavy_task(
    weights: dict[str, list[float]], heavy: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert Queues.of(weights) == Queues(heavy=heavy, other=other)


@pytest.mark.parametrize(("share", "queues"), [(ALL, ("a", "b", "heavy")), (HEAVY, ("heavy",)), (OTHER, ("a", "b"))])
def test_a_share_is_its_kind_of_queues(share: Share, queues: tuple[str, ...]) -> None:
    assert Queues(heavy=("heavy",), other=("a", "b")).of_share(share) == queues


@pytest.mark.parametrize("share", list(Share))
@pytest.mark.parametrize("found", [Queues(heavy=("x",), other=()), Queues(heavy=(), other=("x",))])
def test_an_empty_share_takes_all_queues(found: Queues, share: Share) -> None:
    assert found.of_share(share) == ("x",)


@pytest.mark.parametrize(
    ("cpus", "others", "heavy"), [(1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 4), (7, 2, 6), (8, 2, 7), (16, 4, 13)]
)
def test_by_default_there_is_one_process_more_than_cpus(cpus: int, others: int, heavy: int) -> None:
    assert shares(plan(cpus=cpus).in_all(both_kinds=True)) == [OTHER] * others + [HEAVY] * heavy


@pytest.mark.parametrize(("processes", "others", "heavy"), [(2, 1, 1), (3, 1, 2), (4, 1, 3), (8, 2, 6)])
def test_the_number_that_is_asked_for_is_the_number_in_all(processes: int, others: int, heavy: int) -> None:
    assert shares(plan(processes=processes).in_all(both_kinds=True)) == [OTHER] * others + [HEAVY] * heavy


def test_without_both_kinds_there_is_one_process_for_each_cpu_and_each_takes_all() -> None:
    assert shares(plan(cpus=3).in_all(both_kinds=False)) == [ALL] * 3


def test_the_first_process_finds_out_and_works_on_what_is_not_heavy() -> None:
    assert shares(plan().at_first()) == [OTHER]
    assert plan().at_first() == plan().in_all(both_kinds=True)[:1]


@pytest.mark.parametrize("asked", [plan(processes=1), plan(processes=3, queues=("heavy",)), plan(queues=("a", "b"))])
def test_a_single_process_and_named_queues_are_not_divided_and_all_start_at_once(asked: Plan) -> None:
    for children in (asked.at_first(), asked.in_all(both_kinds=True), asked.in_all(both_kinds=False)):
        assert shares(children) == [ALL] * (asked.processes or 4)


def test_heavy_processes_have_two_threads_and_others_eight_unless_a_number_is_asked_for() -> None:
    threads = {each.share: each.threads for each in plan().in_all(both_kinds=True)}
    assert threads == {OTHER: 8, HEAVY: 2}
    assert {each.threads for each in plan(threads=3).in_all(both_kinds=True)} == {3}
    assert {each.threads for each in plan().in_all(both_kinds=False)} == {8}


def test_what_else_was_asked_for_is_the_same_in_all_processes() -> None:
    assert {(each.modules, each.grace_s) for each in plan().in_all(both_kinds=True)} == {(("m",), 7.5)}
