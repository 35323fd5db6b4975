"""Whatever a shadow policy says, or does: nothing that is decided is decided otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_appointed import specs
from tests.property.test_policy import facts, policies

from weighbridge.chooser import Chooser
from weighbridge.decision import BrokerReading, Decision, Facts, InProcessReading, Lane, LoopReading
from weighbridge.policy import Policy, RulePolicy
from weighbridge.shadow import ShadowCounter
from weighbridge.task import Registry, TaskSpec


class Load:
    def __init__(self, some: Facts) -> None:
        self._some = some

    def in_process(self, *, ahead: int = 0) -> InProcessReading:
        return self._some.in_process

    def loop(self) -> LoopReading:
        return self._some.loop

    def broker(self, queue: str) -> BrokerReading:
        return self._some.broker


class Raises:
    def decide(self, facts: Facts, /) -> Decision:
        raise KeyError(facts.name)


class AnswersNonsense:
    default_lane = Lane.QUEUE

    def decide(self, facts: Facts, /) -> Decision:
        return "queue"  # type: ignore[return-value]  # the nonsense


@given(
    policy=policies(),
    shadow=policies() | st.sampled_from([Raises(), AnswersNonsense()]),
    spec=specs(),
    loads=st.lists(facts, min_size=1, max_size=3),
)
def test_a_shadow_never_changes_an_outcome(
    policy: RulePolicy, shadow: Policy, spec: TaskSpec, loads: list[Facts]
) -> None:
    registry, of_shadow = Registry(), ShadowCounter(shadow)
    registry.add(spec)
    for load in loads:
        alone = Chooser(registry=registry, policy=policy, readings=Load(load))
        beside = Chooser(registry=registry, policy=policy, readings=Load(load), shadow=of_shadow)
        assert not callable(spec.weight)
        assert alone._appointed is not None
        assert beside._appointed is not None

        one = alone._ask(alone._appointed, spec, spec.weight, ([1],), {}, 0)
        other = beside._ask(beside._appointed, spec, spec.weight, ([1],), {}, 0)

        assert one[0] is other[0]
        assert one[1] == other[1]
    counted = sum(count.calls for count in of_shadow.counts) + sum(of_shadow.failures.values())
    assert counted == len(loads)
