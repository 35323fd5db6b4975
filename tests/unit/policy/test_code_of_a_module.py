"""What the revision of a policy in code sees of its module: other classes; and of a module that is a policy."""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import cast

import pytest
from tests.unit.policy.limit_policy import QUEUED, OfItsValues

from weighbridge.decision import Decision, Facts, Lane
from weighbridge.policy import Policy, revision_of

OF_THE_SAME_MODULE = {
    "a member of an enumeration": """
class Limits(IntEnum):
    HEAVY = LIMIT
class Ours:
    def decide(self, facts, /): return facts.weight >= Limits.HEAVY
""",
    "a member that is held": """
class Limits(IntEnum):
    HEAVY = LIMIT
class Ours:
    limit = Limits.HEAVY
    def decide(self, facts, /): return facts.weight >= self.limit
""",
    "a method of a member": """
class Limits(Enum):
    HEAVY = 1
    def met(self, weight): return weight >= LIMIT
class Ours:
    limit = Limits.HEAVY
    def decide(self, facts, /): return self.limit.met(facts.weight)
""",
    "a class of constants": """
class Limits:
    HEAVY = LIMIT
class Ours:
    def decide(self, facts, /): return facts.weight >= Limits.HEAVY
""",
    "a class inside": """
class Ours:
    class Limits:
        HEAVY = LIMIT
    def decide(self, facts, /): return facts.weight >= self.Limits.HEAVY
""",
    "a helper that is made": """
class Helper:
    def heavy(self, weight): return weight >= LIMIT
class Ours:
    def decide(self, facts, /): return Helper().heavy(facts.weight)
""",
    "a helper that is held": """
class Helper:
    def __init__(self): self.limit = LIMIT
    def heavy(self, weight): return weight >= self.limit
class Ours:
    def __init__(self): self.helper = Helper()
    def decide(self, facts, /): return self.helper.heavy(facts.weight)
""",
    "a helper of a dataclass": """
@dataclass
class Helper:
    name: str = "n"
    def heavy(self, weight): return weight >= LIMIT
class Ours:
    def __init__(self): self.helper = Helper()
    def decide(self, facts, /): return self.helper.heavy(facts.weight)
""",
}


@pytest.mark.parametrize("source", OF_THE_SAME_MODULE.values(), ids=OF_THE_SAME_MODULE)
def test_policies_that_use_another_class_of_their_module_have_different_revisions(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(limit: str) -> Policy:
        ours = ModuleType("ours")
        monkeypatch.setitem(sys.modules, "ours", ours)
        exec(f"from dataclasses import dataclass\nfrom enum import *\n{source.replace('LIMIT', limit)}", vars(ours))
        policy: Policy = ours.Ours()
        return policy

    assert revision_of(made("50")) != revision_of(made("80"))
    assert revision_of(made("50")) == revision_of(made("50"))


def module_of(limit: int, **others: object) -> Policy:
    ours = ModuleType("ours")
    exec(f"LIMIT = {limit}\ndef decide(facts, /): return facts.weight >= LIMIT", vars(ours))
    vars(ours).update(others)
    return cast("Policy", ours)


def test_a_module_is_known_by_what_decides_in_it_and_not_by_where_it_lies() -> None:
    assert revision_of(module_of(5, __file__="/here/ours.py")) == revision_of(module_of(5, __file__="/there/ours.py"))
    assert revision_of(module_of(5)) != revision_of(module_of(6))
    assert revision_of(OfItsValues(module_of(5))) != revision_of(OfItsValues(module_of(6)))
    assert revision_of(module_of(5, default_lane=Lane.QUEUE)) != revision_of(module_of(5, default_lane=Lane.IN_PROCESS))


def test_the_threads_that_run_make_no_difference() -> None:
    class Ours(threading.Thread):
        def decide(self, facts: Facts, /) -> Decision:
            return QUEUED

    policy = Ours()
    before = revision_of(policy)
    running, done = threading.Event(), threading.Event()

    def run() -> None:
        running.set()
        done.wait()

    other = threading.Thread(target=run)
    other.start()
    running.wait()
    try:
        assert revision_of(policy) == before
    finally:
        done.set()
        other.join()
