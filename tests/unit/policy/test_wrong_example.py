"""What each mistake in an example of a policy file is told."""

from __future__ import annotations

import pytest

from weighbridge.decision import Facts, Lane
from weighbridge.policy import parse_policy
from weighbridge.policy.scanner import MAX_NUMBER

from .refusal import OTHERWISE, SCHEMA, refusal_of

RULE = "[[rule]]\nname = 'heavy'\nwhen = 'weight >= 50'\nlane = 'queue'\n"
LANES = 'lane = "in_process" or "queue"'
FACTS = "write facts = { … }, as in facts = { weight = 80 }"


def example(facts: str = "{ weight = 80 }", lane: str = "'queue'") -> str:
    keys = {"facts": facts, "lane": lane}
    return "[[example]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)


MISTAKES = {
    "an example without facts": (
        SCHEMA + OTHERWISE + example(facts=""),
        (
            ", line 4, example 1, facts: it is missing\n"
            "    [[example]]\n"
            "    ^^^^^^^^^^^\n"
            "write facts = { … }, as in facts = { weight = 80 }"
        ),
    ),
    "an example without a lane": (
        SCHEMA + OTHERWISE + example(lane=""),
        (
            ", line 4, example 1, lane: it is missing\n"
            "    [[example]]\n"
            "    ^^^^^^^^^^^\n"
            'write lane = "in_process" or "queue"'
        ),
    ),
    "facts that are a number": (
        SCHEMA + OTHERWISE + example("5"),
        (
            ", line 5, example 1, facts: it is 5, and has to be a table\n"
            "    facts = 5\n"
            "            ^\n"
            "write facts = { … }, as in facts = { weight = 80 }"
        ),
    ),
    "a misspelt fact in an example": (
        SCHEMA + OTHERWISE + example("{ wieght = 5 }"),
        (
            ", line 5, example 1, facts, wieght: there is no such fact\n"
            "    facts = { wieght = 5 }\n"
            "              ^^^^^^\n"
            "did you mean weight?"
        ),
    ),
    "a misspelt reading in an example": (
        SCHEMA + OTHERWISE + example("{ in_process = { waitng = 5 } }"),
        (
            ", line 5, example 1, facts, in_process.waitng: there is no such fact\n"
            "    facts = { in_process = { waitng = 5 } }\n"
            "                             ^^^^^^\n"
            "did you mean in_process.waiting?"
        ),
    ),
    "a reading without its group": (
        SCHEMA + OTHERWISE + example("{ lag_ms = 5 }"),
        (
            ", line 5, example 1, facts, lag_ms: there is no such fact\n"
            "    facts = { lag_ms = 5 }\n"
            "              ^^^^^^\n"
            "did you mean loop.lag_ms?"
        ),
    ),
    "a group that is a number": (
        SCHEMA + OTHERWISE + example("{ in_process = 5 }"),
        (
            ", line 5, example 1, facts, in_process: it is 5, and has parts\n"
            "    facts = { in_process = 5 }\n"
            "                           ^\n"
            "write in_process = { running = … }"
        ),
    ),
    "a weight in quotes": (
        SCHEMA + OTHERWISE + example("{ weight = '5' }"),
        (
            ", line 5, example 1, facts, weight: it is '5'\n"
            "    facts = { weight = '5' }\n"
            "                       ^^^\n"
            "give a number ≥ 0"
        ),
    ),
    "a weight that is true": (
        SCHEMA + OTHERWISE + example("{ weight = true }"),
        (
            ", line 5, example 1, facts, weight: it is true\n"
            "    facts = { weight = true }\n"
            "                       ^^^^\n"
            "give a number ≥ 0"
        ),
    ),
    "a weight that is no number": (
        SCHEMA + OTHERWISE + example("{ weight = nan }"),
        (
            ", line 5, example 1, facts, weight: it is nan\n"
            "    facts = { weight = nan }\n"
            "                       ^^^\n"
            "give a number ≥ 0"
        ),
    ),
    "a negative weight": (
        SCHEMA + OTHERWISE + example("{ weight = -1 }"),
        (
            ", line 5, example 1, facts, weight: it is -1\n"
            "    facts = { weight = -1 }\n"
            "                       ^^\n"
            "give a number ≥ 0"
        ),
    ),
    "a weight that no float holds": (
        SCHEMA + OTHERWISE + example(f"{{ weight = 1{'0' * 400} }}"),
        (
            f", line 5, example 1, facts, weight: it is 1{'0' * 39}…, which is too large\n"
            f"    facts = {{ weight = 1{'0' * 80}…\n"
            f"                       {'^' * 81}\n"
            "the largest number is 9_007_199_254_740_992"
        ),
    ),
    "an infinite weight": (
        SCHEMA + OTHERWISE + example("{ weight = inf }"),
        (
            ", line 5, example 1, facts, weight: it is inf, which is too large\n"
            "    facts = { weight = inf }\n"
            "                       ^^^\n"
            "the largest number is 9_007_199_254_740_992"
        ),
    ),
    "a priority that is too low": (
        SCHEMA + OTHERWISE + example("{ priority = -9_007_199_254_740_993 }"),
        (
            ", line 5, example 1, facts, priority: it is -9007199254740993, which is too low\n"
            "    facts = { priority = -9_007_199_254_740_993 }\n"
            "                         ^^^^^^^^^^^^^^^^^^^^^^\n"
            "the lowest number is -9_007_199_254_740_992"
        ),
    ),
    "a reading whose name is one key in quotes": (
        SCHEMA + OTHERWISE + example("{ 'in_process.waiting' = 9 }"),
        (
            ", line 5, example 1, facts, in_process.waiting: the quotes make its name one key\n"
            "    facts = { 'in_process.waiting' = 9 }\n"
            "              ^^^^^^^^^^^^^^^^^^^^\n"
            "write it without them: in_process.waiting = …"
        ),
    ),
    "a reading that is written in both ways": (
        SCHEMA + OTHERWISE + example("{ in_process = { waiting = 3 }, 'in_process.waiting' = 9 }"),
        (
            ", line 5, example 1, facts, in_process.waiting: the quotes make its name one key\n"
            "    facts = { in_process = { waiting = 3 }, 'in_process.waiting' = 9 }\n"
            "                                            ^^^^^^^^^^^^^^^^^^^^\n"
            "write it without them: in_process.waiting = …"
        ),
    ),
    "a misspelt reading in quotes": (
        SCHEMA + OTHERWISE + example("{ 'in_process.waitng' = 9 }"),
        (
            ", line 5, example 1, facts, in_process.waitng: there is no such fact\n"
            "    facts = { 'in_process.waitng' = 9 }\n"
            "              ^^^^^^^^^^^^^^^^^^^\n"
            "did you mean in_process.waiting?"
        ),
    ),
    "a weight that is a table": (
        SCHEMA + OTHERWISE + example("{ weight = { ms = 1 } }"),
        (
            ", line 5, example 1, facts, weight: it is a table\n"
            "    facts = { weight = { ms = 1 } }\n"
            "                       ^^^^^^^^^^\n"
            "give a number ≥ 0"
        ),
    ),
    "a count with a fraction": (
        SCHEMA + OTHERWISE + example("{ in_process = { waiting = 1.5 } }"),
        (
            ", line 5, example 1, facts, in_process.waiting: it is 1.5\n"
            "    facts = { in_process = { waiting = 1.5 } }\n"
            "                                       ^^^\n"
            "give a whole number ≥ 0"
        ),
    ),
    "a priority with a fraction": (
        SCHEMA + OTHERWISE + example("{ priority = 1.5 }"),
        (
            ", line 5, example 1, facts, priority: it is 1.5\n"
            "    facts = { priority = 1.5 }\n"
            "                         ^^^\n"
            "give a whole number"
        ),
    ),
    "a flag that is a number": (
        SCHEMA + OTHERWISE + example("{ is_async = 1 }"),
        (
            ", line 5, example 1, facts, is_async: it is 1\n"
            "    facts = { is_async = 1 }\n"
            "                         ^\n"
            "give true or false"
        ),
    ),
    "a queue that is a number": (
        SCHEMA + OTHERWISE + example("{ queue = 1 }"),
        (
            ", line 5, example 1, facts, queue: it is 1\n"
            "    facts = { queue = 1 }\n"
            "                      ^\n"
            "give text in quotes"
        ),
    ),
    "tags that are one text": (
        SCHEMA + OTHERWISE + example("{ tags = 'a' }"),
        (
            ", line 5, example 1, facts, tags: it is 'a'\n"
            "    facts = { tags = 'a' }\n"
            "                     ^^^\n"
            'give a list of texts, as in ["billing"]'
        ),
    ),
    "an example that a rule decides otherwise": (
        SCHEMA + RULE + OTHERWISE + example() + example("{ weight = 50.0, is_async = true }", "'in_process'"),
        (
            ", line 11, example 2: expected in_process, got queue by rule 'heavy', "
            "for { weight = 50.0, is_async = true }\n"
            "    [[example]]\n"
            "    ^^^^^^^^^^^\n"
            "correct the example, or the rules"
        ),
    ),
    "an example of texts that comes out otherwise": (
        SCHEMA + RULE + OTHERWISE + example("{ queue = 'mail', tags = ['a', \"it's\"] }"),
        (
            ", line 8, example 1: expected queue, got in_process by [otherwise], "
            'for { queue = "mail", tags = ["a", "it\'s"] }\n'
            "    [[example]]\n"
            "    ^^^^^^^^^^^\n"
            "correct the example, or the rules"
        ),
    ),
    "an example that the last word decides otherwise": (
        SCHEMA + RULE + OTHERWISE + example("{ in_process = { waiting = 9 } }"),
        (
            ", line 8, example 1: expected queue, got in_process by [otherwise], for { in_process = { waiting = 9 } }\n"
            "    [[example]]\n"
            "    ^^^^^^^^^^^\n"
            "correct the example, or the rules"
        ),
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_place_and_what_to_write(text: str, message: str) -> None:
    assert str(refusal_of(text)) == f"policy ours.toml{message}"


def test_the_largest_number_is_a_number_all_the_same() -> None:
    text = SCHEMA + RULE + OTHERWISE + example(f"{{ weight = {MAX_NUMBER}, priority = -{MAX_NUMBER} }}")
    assert parse_policy(text, name="mine", source="mine.toml").decide(Facts(weight=1e300)).lane is Lane.QUEUE
