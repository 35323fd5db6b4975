from __future__ import annotations

from dataclasses import dataclass

import pytest

from weighbridge.decision import Facts, Origin
from weighbridge.policy import FACTS
from weighbridge.policy.fact import _walk


@pytest.mark.parametrize("name", FACTS)
def test_every_fact_says_what_it_is_in_a_sentence(name: str) -> None:
    meaning = FACTS[name].meaning
    assert meaning[0].isupper()
    assert meaning.endswith(".")
    assert "|" not in meaning  # it stands in a table


@pytest.mark.parametrize(("end", "unit"), [("_ms", "milliseconds"), ("_s", "Seconds"), ("_bytes", "bytes")])
def test_a_fact_that_has_a_unit_in_its_name_says_it(end: str, unit: str) -> None:
    named = [fact for fact in FACTS.values() if fact.name.endswith(end)]
    assert named
    assert [fact.name for fact in named if unit not in fact.meaning] == []


def test_a_fact_without_a_meaning_is_refused_when_the_package_is_imported() -> None:
    @dataclass(frozen=True)
    class Hasty:
        speed: float = 0.0

    with pytest.raises(TypeError, match=r"the fact loop\.speed has no meaning"):
        list(_walk(Hasty, "loop."))


@pytest.mark.parametrize("name", FACTS)
def test_the_default_of_a_fact_is_that_of_facts_of_which_nothing_is_told(name: str) -> None:
    value: object = Facts()
    for part in name.split("."):
        value = getattr(value, part)
    assert FACTS[name].default == value


@pytest.mark.parametrize("name", FACTS)
def test_what_may_be_unknown_is_unknown_by_default_unless_it_is_counted_here(name: str) -> None:
    fact = FACTS[name]
    assert fact.can_be_unknown == (fact.default is None)
    assert fact.can_be_unknown or fact.origin is not Origin.SAMPLED
