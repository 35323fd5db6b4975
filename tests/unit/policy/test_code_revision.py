"""The revision of a policy in code: another for another behaviour, as far as its code and its plain values tell it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.policy.limit_policy import Limit, OfItsValues, chosen

from weighbridge.decision import Decision, Facts
from weighbridge.errors import PolicyError
from weighbridge.policy import Policy, revision_of


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


def of_a_helper_inside(value: Any) -> Policy:
    """A policy that holds an object whose class is of its own module, in a list."""
    return OfItsValues([Limit(value)])


def of_its_contents(value: Any) -> Policy:
    class Ours(dict[str, Any]):
        def decide(self, facts: Facts, /) -> Decision:
            return chosen(facts, self["limit"])

    return Ours(limit=value)


def of_a_class_that_decides(value: Any) -> Policy:
    class Ours:
        limit = value

        @classmethod
        def decide(cls, facts: Facts, /) -> Decision:
            return chosen(facts, cls.limit)

    return SimpleNamespace(decide=Ours.decide)


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
    of_a_helper_inside,
    of_its_contents,
    of_a_class_that_decides,
    of_a_module,
]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_policies_that_differ_in_a_value_have_different_revisions(maker: Callable[[object], Policy]) -> None:
    assert revision_of(maker(5)) != revision_of(maker(6))
    assert revision_of(maker(5)) == revision_of(maker(5))


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
        f"policy {OfItsValues.__module__}.OfItsValues, revision: it has none, "
        "and to make one from its values raised OSError: disk; "
        "declare one, as in revision = 'v1'"
    )
