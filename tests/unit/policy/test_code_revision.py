"""The revision of a policy in code: another for another behaviour, as far as its code and its plain values tell it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.errors import PolicyError
from weighbridge.policy import Policy, revision_of

QUEUED = Decision(Lane.QUEUE, "r", "r")
STAYS = Decision(Lane.IN_PROCESS, "r", "r")


def chosen(facts: Facts, limit: float) -> Decision:
    return QUEUED if facts.weight >= limit else STAYS


class OfItsValues:
    def __init__(self, limit: object) -> None:
        self.limit = limit

    def decide(self, facts: Facts, /) -> Decision:
        return chosen(facts, cast("float", self.limit))


@dataclass(frozen=True, slots=True)
class OfItsSlots:
    limit: object

    def decide(self, facts: Facts, /) -> Decision:
        return chosen(facts, cast("float", self.limit))


def of_its_class(value: object) -> Policy:
    class Ours:
        limit = value

        def decide(self, facts: Facts, /) -> Decision:
            return chosen(facts, cast("float", self.limit))

    return Ours()


def of_its_defaults(value: object) -> Policy:
    class Ours:
        def decide(self, facts: Facts, /, limit: Any = value) -> Decision:
            return chosen(facts, limit)

    return Ours()


def of_its_keyword_defaults(value: object) -> Policy:
    class Ours:
        def decide(self, facts: Facts, /, *, limit: Any = value) -> Decision:
            return chosen(facts, limit)

    return Ours()


def of_its_closure(value: Any) -> Policy:
    class Ours:
        def decide(self, facts: Facts, /) -> Decision:
            return chosen(facts, value)

    return Ours()


def of_a_static_method(value: Any) -> Policy:
    class Ours:
        @staticmethod
        def decide(facts: Facts, /, limit: Any = value) -> Decision:
            return chosen(facts, limit)

    return Ours()


def of_a_class_method(value: Any) -> Policy:
    class Ours:
        @classmethod
        def decide(cls, facts: Facts, /, limit: Any = value) -> Decision:
            return chosen(facts, limit)

    return Ours()


def of_a_property(value: Any) -> Policy:
    class Ours:
        @property
        def limit(self) -> Any:
            return value

        def decide(self, facts: Facts, /) -> Decision:
            return chosen(facts, self.limit)

    return Ours()


def of_a_partial(value: Any) -> Policy:
    return SimpleNamespace(decide=functools.partial(chosen, limit=value))


def of_a_namespace(value: Any) -> Policy:
    return SimpleNamespace(decide=lambda facts: chosen(facts, value))


def of_a_bound_method(value: Any) -> Policy:
    return SimpleNamespace(decide=OfItsValues(value).decide)


def of_a_decorator(value: Any) -> Policy:
    def traced(func: Callable[..., Decision]) -> Callable[..., Decision]:
        @functools.wraps(func)
        def inner(*args: Any) -> Decision:
            return func(*args)

        return inner

    class Ours:
        @traced
        def decide(self, facts: Facts, /, limit: Any = value) -> Decision:
            return chosen(facts, limit)

    return Ours()


def of_a_cache(value: Any) -> Policy:
    class Ours:
        @functools.lru_cache  # noqa: B019  # what somebody may write
        def decide(self, facts: Facts, /, limit: Any = value) -> Decision:
            return chosen(facts, limit)

    return Ours()


def of_a_policy_inside(value: Any) -> Policy:
    return OfItsValues(SimpleNamespace(policy=OfItsValues(value), decide=chosen))


def of_a_module(value: Any) -> Policy:
    """A policy whose limit is a constant of its module, behind a function of it."""
    namespace: dict[str, Any] = {"LIMIT": value, "__name__": "ours"}
    source = """
def limit(): return LIMIT
class Ours:
    def decide(self, facts, /): return facts.weight >= limit()
"""
    exec(source, namespace)  # a module that differs in a constant
    policy: Policy = namespace["Ours"]()
    return policy


MAKERS = [
    OfItsValues,
    OfItsSlots,
    of_its_class,
    of_its_defaults,
    of_its_keyword_defaults,
    of_its_closure,
    of_a_static_method,
    of_a_class_method,
    of_a_property,
    of_a_partial,
    of_a_namespace,
    of_a_bound_method,
    of_a_decorator,
    of_a_cache,
    of_a_policy_inside,
    of_a_module,
]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_policies_that_differ_in_a_value_have_different_revisions(maker: Callable[[object], Policy]) -> None:
    assert revision_of(maker(5)) != revision_of(maker(6))
    assert revision_of(maker(5)) == revision_of(maker(5))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("5", 5),
        (None, "None"),
        (("a", "b"), ["a", "b"]),
        (("a", "b"), ("b", "a")),
        ({"a", "b"}, {"a", "c"}),
        ({"a": 1}, {"a": 2}),
        ({"a": [1]}, {"a": [2]}),
        (Lane.QUEUE, Lane.IN_PROCESS),
        (QUEUED, STAYS),
        (10**5_000, 10**5_000 + 1),
    ],
    ids=[
        "a flag",
        "a fraction",
        "a sign",
        "a text",
        "none",
        "a list",
        "an order",
        "a set",
        "a dictionary",
        "deep",
        "a member",
        "a dataclass",
        "thousands of digits",
    ],
)
def test_plain_values_of_any_kind_are_told_apart(one: object, other: object) -> None:
    assert revision_of(OfItsValues(one)) != revision_of(OfItsValues(other))


def test_the_order_of_a_dictionary_or_a_set_makes_no_difference() -> None:
    assert revision_of(OfItsValues({"a": 1, "b": 2})) == revision_of(OfItsValues({"b": 2, "a": 1}))


def test_the_environment_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    before = revision_of(OfItsValues(os.environ))
    monkeypatch.setenv("OURS", "another")
    assert revision_of(OfItsValues(os.environ)) == before
    assert revision_of(OfItsValues(MappingProxyType({"a": 1}))) != revision_of(OfItsValues(MappingProxyType({"a": 2})))


def test_what_is_no_plain_value_is_known_by_its_type_alone() -> None:
    assert revision_of(OfItsValues(object())) == revision_of(OfItsValues(object()))
    assert revision_of(OfItsValues(object())) != revision_of(OfItsValues(Exception()))


def test_what_a_policy_has_found_out_since_it_was_made_makes_no_difference() -> None:
    class Ours:
        @functools.cached_property
        def limit(self) -> float:
            return 5.0

        def decide(self, facts: Facts, /) -> Decision:
            return chosen(facts, self.limit)

    policy = Ours()
    before = revision_of(policy)
    policy.decide(Facts())
    assert revision_of(policy) == before


def test_values_that_stand_in_themselves_or_very_deep_do_no_harm() -> None:
    ring: list[object] = []
    ring.append(ring)
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    itself = OfItsValues(None)
    itself.limit = itself
    for value in (ring, deep, itself):
        assert revision_of(OfItsValues(value)) == revision_of(OfItsValues(value))


def test_a_policy_that_cannot_be_looked_into_is_told_to_declare_a_revision() -> None:
    class Odd(dict[str, int]):
        def items(self) -> Any:
            raise OSError("disk")

    with pytest.raises(PolicyError) as caught:
        revision_of(OfItsValues(Odd()))
    assert str(caught.value) == (
        f"policy {__name__}.OfItsValues, revision: it has none, and to make one from its values raised OSError: disk; "
        "declare one, as in revision = 'v1'"
    )


SCRIPT = """
from types import SimpleNamespace
from weighbridge.policy import revision_of
NAMES = {"alpha", "beta", "gamma", "delta"}
class Tagged:
    def __init__(self):
        self.names = {"epsilon": {"zeta", "eta"}, "theta": frozenset({"iota", "kappa"})}
    def decide(self, facts, /, more=("lambda", frozenset({"mu", "nu"}))):
        return facts.name in NAMES or facts.name in {"xi", "omicron"} or (facts.name, {"pi", "rho"}) in self.names
print(revision_of(SimpleNamespace(decide=Tagged().decide, inner=Tagged())))
"""


def test_the_revision_is_the_same_in_each_process() -> None:
    def run(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert run("1") == run("2") == run("3")
