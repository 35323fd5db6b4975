"""The revision of a policy in code whose values refer to each other: soon found, and the same in each process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from tests.unit.policy.limit_policy import OfItsValues

from weighbridge.errors import PolicyError
from weighbridge.policy import revision_of


@dataclass(eq=False)
class Region:
    name: str
    near: list[Region] = field(default_factory=list)


def regions(number: int, *, last: str = "the last") -> list[Region]:
    found = [Region(f"region {each}") for each in range(number - 1)] + [Region(last)]
    for region in found:
        region.near = [other for other in found if other is not region]
    return found


def test_values_that_are_reached_by_many_ways_are_looked_at_once() -> None:
    def shared(limit: int) -> object:
        part: dict[str, object] = {"limit": limit}
        for _ in range(40):  # a million of millions of ways lead to the limit
            part = {"day": part, "night": part}
        return part

    assert revision_of(OfItsValues(shared(5))) == revision_of(OfItsValues(shared(5)))
    assert revision_of(OfItsValues(shared(5))) != revision_of(OfItsValues(shared(6)))


def test_values_that_all_lead_to_each_other_are_told_apart() -> None:
    assert revision_of(OfItsValues(regions(30))) == revision_of(OfItsValues(regions(30)))
    assert revision_of(OfItsValues(regions(30))) != revision_of(OfItsValues(regions(30, last="another")))


def ring(*names: str) -> list[Region]:
    """Regions, each of which is near the next, and the last near the first."""
    found = [Region(name) for name in names]
    for one, other in zip(found, [*found[1:], found[0]], strict=True):
        one.near = [other]
    return found


def test_values_in_a_ring_are_told_apart_by_their_order() -> None:
    assert revision_of(OfItsValues(ring(*"abcd")[0])) == revision_of(OfItsValues(ring(*"abcd")[0]))
    assert len({revision_of(OfItsValues(ring(*names)[0])) for names in ("abcd", "abdc", "acbd", "bcda", "abc")}) == 5


@pytest.mark.parametrize(
    "value",
    [
        dict.fromkeys(range(1_000_000)),
        [ring(*map(str, [*range(5_000)])) for _ in range(40)],
        [[each] for each in range(200_000)],
    ],
    ids=["a table", "a ring", "lists"],
)
def test_a_policy_with_too_many_values_is_told_to_declare_a_revision(value: object) -> None:
    with pytest.raises(PolicyError) as caught:
        revision_of(OfItsValues(value))
    assert "there are more than 250000 values in it; declare one, as in revision = 'v1'" in str(caught.value)


SCRIPT = """
from types import SimpleNamespace
from weighbridge.policy import revision_of
NAMES = {"alpha", "beta", "gamma", "delta"}
class Tagged:
    def __init__(self):
        self.names = {"epsilon": {"zeta", "eta"}, "theta": frozenset({"iota", "kappa"})}
    def decide(self, facts, /, more=("lambda", frozenset({"mu", "nu"}))):
        return facts.name in NAMES or facts.name in {"xi", "omicron"} or (facts.name, {"pi", "rho"}) in self.names
def heavy(facts): return facts.weight > 50 or even(facts)
def late(facts): return heavy(facts) or facts.priority > 3
def big(facts): return late(facts) or heavy(facts)
def even(facts): return odd(facts)
def odd(facts): return even(facts)
class Checked:
    checks = frozenset({heavy, late, big, even, odd})
    def decide(self, facts, /): return any(check(facts) for check in self.checks)
print(revision_of(SimpleNamespace(decide=Tagged().decide, inner=Tagged(), checked=Checked())))
"""


def test_the_revision_is_the_same_in_each_process() -> None:
    def run(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert len({run(str(seed)) for seed in range(6)}) == 1
