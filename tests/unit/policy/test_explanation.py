"""Why a call takes its lane, rule by rule, and what would have to change."""

from __future__ import annotations

import copy
import time

from weighbridge.decision import BrokerReading, Decision, Facts, InProcessReading, Lane, LoopReading
from weighbridge.policy import Expression, Rule, RulePolicy, load_policy, parse_policy
from weighbridge.policy.change import Changes, changes_of
from weighbridge.policy.explanation import Explanation, explain
from weighbridge.policy.rule import last_word

SPILL_OVER = load_policy("spill-over")
BUSY = Facts(weight=1.0, in_process=InProcessReading(waiting=12))


def policy(*rules: tuple[str, str], otherwise: str = "in_process") -> RulePolicy:
    text = "schema = 1\n" + "".join(
        f"[[rule]]\nname = 'rule {number}'\nwhen = '''{when}'''\nlane = '{lane}'\n"
        for number, (when, lane) in enumerate(rules, 1)
    )
    return parse_policy(f"{text}[otherwise]\nlane = '{otherwise}'\n", name="test", source="test.toml")


def changes(told: Explanation) -> list[str]:
    return [str(change) for change in told.changes]


# -- it is a decision ---------------------------------------------------------------------------------------


def test_an_explanation_equals_the_decision_that_it_explains() -> None:
    decision = SPILL_OVER.decide(BUSY)
    told = explain(SPILL_OVER, BUSY)
    assert told == decision
    assert decision == told
    assert hash(told) == hash(decision)
    assert {decision: 1}[told] == 1
    assert copy.copy(told) == decision


def test_an_explanation_differs_from_another_decision_and_from_what_is_none() -> None:
    told = explain(SPILL_OVER, BUSY)
    assert told != SPILL_OVER.decide(Facts())
    assert SPILL_OVER.decide(Facts()) != told
    assert told != "queue"


def test_an_explanation_keeps_the_facts() -> None:
    assert explain(SPILL_OVER, BUSY).facts == BUSY


# -- the rules that were tried ------------------------------------------------------------------------------


def test_each_rule_up_to_the_one_that_decides_is_told() -> None:
    heavy, spill = explain(SPILL_OVER, BUSY).tried
    assert (heavy.name, heavy.lane, heavy.matched) == ("heavy work is queued", Lane.QUEUE, False)
    assert heavy.expression == "weight >= 50 or (is_async and weight >= 5)"
    assert dict(heavy.values) == {"weight": 1.0, "is_async": False}
    assert heavy.because == "weight is 1"
    assert (spill.matched, spill.because) == (True, "in_process.waiting is 12")


def test_rules_below_the_one_that_decides_are_not_tried() -> None:
    assert [rule.name for rule in explain(SPILL_OVER, Facts(weight=80.0)).tried] == ["heavy work is queued"]


def test_a_rule_names_each_fact_that_it_takes_to_settle_it() -> None:
    told = explain(SPILL_OVER, Facts(weight=10.0))
    assert told.tried[0].because == "weight is 10 and is_async is false"


def test_an_unknown_reading_is_named_as_such() -> None:
    told = explain(policy(("loop.lag_ms > 20", "queue")), Facts())
    assert told.tried[0].because == "loop.lag_ms is unknown"


def test_an_unknown_reading_is_not_named_where_a_value_settles_it() -> None:
    told = explain(policy(("loop.lag_ms > 20 and weight >= 50", "queue")), Facts(weight=1.0))
    assert told.tried[0].because == "weight is 1"


def test_a_rule_that_looks_at_no_fact_gives_no_reason() -> None:
    never, always = (  # of its own making: no file may have a rule that never decides
        Rule.of(policy="ours", name=when, when=Expression.parse(when), lane=Lane.QUEUE) for when in ("False", "True")
    )
    otherwise = last_word(policy="ours", lane=Lane.IN_PROCESS)
    told = explain(RulePolicy(name="ours", source="ours", rules=(never, always), otherwise=otherwise), Facts())
    assert [rule.because for rule in told.tried] == ["", ""]
    assert "does not match, whatever the facts are" in str(told)


# -- what would have to change ------------------------------------------------------------------------------


def test_each_fact_that_alone_gives_the_other_lane_is_told_at_its_nearest_value() -> None:
    told = explain(SPILL_OVER, Facts(weight=1.0))
    assert changes(told) == ["weight = 50 instead of 1", "in_process.waiting = 8 instead of 0"]
    assert [change.rule for change in told.changes] == ["heavy work is queued", "spill over while this process is busy"]
    assert {change.lane for change in told.changes} == {Lane.QUEUE}


def test_the_nearest_value_may_be_below() -> None:
    assert changes(explain(SPILL_OVER, BUSY)) == ["in_process.waiting = 7 instead of 12"]


def test_two_facts_are_told_where_no_single_one_is_enough() -> None:
    told = explain(policy(("weight >= 50 and is_async", "queue")), Facts(weight=1.0))
    assert changes(told) == ["weight = 50 instead of 1 and is_async = true instead of false"]


def test_nothing_is_told_where_three_facts_would_have_to_change() -> None:
    told = explain(policy(("weight >= 50 and is_async and priority > 0", "queue")), Facts())
    assert told.changes == ()
    assert "No change of one or two facts" in str(told)


def test_another_name_is_no_change() -> None:
    assert explain(policy(("name == 'a'", "queue")), Facts(name="b")).changes == ()


def test_nothing_is_changed_to_unknown_but_an_unknown_reading_may_become_known() -> None:
    unless_known = policy(("loop.lag_ms >= 0", "queue"))
    assert explain(unless_known, Facts(loop=LoopReading(lag_ms=5.0))).changes == ()
    assert changes(explain(unless_known, Facts())) == ["loop.lag_ms = 0 instead of unknown"]


def test_texts_flags_and_tags_change_too() -> None:
    rules = policy(("queue == 'mail' or broker.available or ('a' in tags and 'b' in tags)", "queue"))
    told = explain(rules, Facts(tags=("x", "a"), broker=BrokerReading(available=False)))
    assert changes(told) == [
        'queue = "mail" instead of "default"',
        'tags = ["x", "a", "b"] instead of ["x", "a"]',
        "broker.available = true instead of false",
    ]


def test_facts_that_are_compared_are_changed_to_where_the_other_one_is() -> None:
    told = explain(policy(("in_process.waiting > broker.waiting", "queue")), Facts(broker=BrokerReading(waiting=70)))
    assert changes(told) == ["in_process.waiting = 71 instead of 0"]


# -- where there is much to try -----------------------------------------------------------------------------


def of_many_rules(number: int) -> RulePolicy:
    """A policy of as many rules, each with six facts; no file could be so long that it takes longer."""
    names = ("weight", "in_process.waiting", "loop.lag_ms", "priority", "payload_bytes", "broker.waiting")
    rules = tuple(
        Rule.of(
            policy="ours",
            name=f"rule {limit}",
            when=Expression.parse(" and ".join(f"{name} > {limit}" for name in names)),
            lane=Lane.QUEUE,
        )
        for limit in range(number, 0, -1)
    )
    return RulePolicy(name="ours", source="ours", rules=rules, otherwise=last_word(policy="ours", lane=Lane.IN_PROCESS))


def test_a_long_policy_is_explained_in_no_time_that_anybody_would_notice() -> None:
    long = of_many_rules(1_000)
    start = time.perf_counter()
    told = explain(long, Facts(weight=1.0))
    assert time.perf_counter() - start < 1.5  # it takes a tenth of a second; a busy machine takes longer
    assert (told.changes, told.all_searched) == ((), False)
    assert str(told).endswith("No change of one or two facts was found that gives the other lane; not all was tried.")


def test_where_the_budget_ends_what_was_found_is_told_and_that_there_may_be_more() -> None:
    rules = policy(("weight >= 50 or queue == 'mail'", "queue"))
    all_of_them = changes_of(rules, Facts())
    assert all_of_them.all_searched
    assert len(all_of_them.found) == 2
    some = [changes_of(rules, Facts(), budget=budget) for budget in range(0, 2_000, 50)]
    assert {len(each.found) for each in some} == {0, 1, 2}
    for each in some:
        assert each.all_searched == (each == all_of_them)
        assert set(map(str, each.found)) <= set(map(str, all_of_them.found))


def test_where_not_all_was_tried_the_text_says_so() -> None:
    decision = Decision(lane=Lane.IN_PROCESS, reason="r", rule="otherwise")
    found = changes_of(policy(("weight >= 50", "queue")), Facts()).found
    told = Explanation.of(decision, facts=Facts(), changes=Changes(found=found, all_searched=False))
    assert str(told).endswith("(rule 'rule 1')\nNot all was tried, so there may be others.")


def test_of_many_tags_not_all_is_tried() -> None:
    some = " and ".join(f"'{number}' in tags" for number in range(9))
    told = explain(policy((some, "queue")), Facts(tags=tuple(map(str, range(8)))))
    assert [change.values for change in told.changes] == [{"tags": tuple(map(str, range(9)))}]
    assert explain(policy((some, "queue")), Facts()).changes[0].values == {"tags": tuple(map(str, range(9)))}
    assert not explain(policy((f"{some} and is_async and priority > 0", "queue")), Facts()).all_searched


# -- without rules ------------------------------------------------------------------------------------------


class ByNight:
    def decide(self, facts: Facts, /) -> Decision:
        return Decision(lane=Lane.QUEUE, reason="it is night", rule="night")


def test_of_a_policy_of_somebodys_own_only_the_decision_is_known() -> None:
    told = explain(ByNight(), Facts())
    assert (told.tried, told.changes, told.constraint) == ((), (), "")
    assert str(told) == "queue, by rule 'night'\n  it is night"


def test_a_constraint_is_told_alone() -> None:
    decision = Decision(lane=Lane.QUEUE, reason="is declared durable", rule="durable")
    told = Explanation.of(decision, facts=Facts(), constraint=decision.reason)
    assert told == decision
    assert str(told) == "queue, by a constraint that no policy overrides: it is declared durable"


# -- as text ------------------------------------------------------------------------------------------------


def test_the_text_tells_decision_rules_values_and_changes() -> None:
    assert (
        str(explain(SPILL_OVER, Facts(weight=1.0)))
        == """\
in_process, by [otherwise]
  policy spill-over, otherwise: no rule matches

The rules, as they were tried:
  1. heavy work is queued: queue
     weight >= 50 or (is_async and weight >= 5)
     weight = 1, is_async = false
     does not match: weight is 1
  2. spill over while this process is busy: queue
     in_process.waiting >= 8
     in_process.waiting = 0
     does not match: in_process.waiting is 0
  3. [otherwise]: in_process

It would go to the queue with any one of these:
  weight = 50 instead of 1             (rule 'heavy work is queued')
  in_process.waiting = 8 instead of 0  (rule 'spill over while this process is busy')"""
    )
