"""What each mistake in a policy file is told: the file, the rule, the key, the place and what to write."""

from __future__ import annotations

import pytest

from weighbridge.errors import ExpressionError, PolicyError
from weighbridge.policy import parse_policy

SCHEMA = "schema = 1\n"
OTHERWISE = '[otherwise]\nlane = "in_process"\n'
LANES = 'lane = "in_process" or "queue"'
SMALLEST = 'the smallest policy is schema = 1, [otherwise], lane = "in_process", each on its own line'
ONE_TABLE = "a table can stand only once; every rule starts with [[rule]], in two brackets"
RULES = "write [[rule]], in two brackets, above the keys of each rule"
WHEN = 'write when = "…", as in when = "weight >= 50"'
NAME = 'write name = "…": decisions and errors call the rule by it'


def rule(name: str = "'heavy'", when: str = "'weight >= 50'", lane: str = "'queue'", more: str = "") -> str:
    """A rule; an empty value leaves the key out."""
    keys = {"name": name, "when": when, "lane": lane}
    return "[[rule]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value) + more


MISTAKES = {
    "empty": ("", f": it is empty; {SMALLEST}"),
    "only a comment": ("# to be written\n", f": it is empty; {SMALLEST}"),
    # not TOML
    "a lane without quotes": (
        "schema = 1\n[otherwise]\nlane = queue\n",
        (
            ", line 3, column 8: it is not TOML: invalid value\n"
            "    lane = queue\n"
            "           ^\n"
            'put text in quotes, as in lane = "queue"'
        ),
    ),
    "an expression without quotes": (
        SCHEMA + rule(when="weight >= 50") + OTHERWISE,
        (
            ", line 4, column 8: it is not TOML: invalid value\n"
            "    when = weight >= 50\n"
            "           ^\n"
            'put text in quotes, as in lane = "queue"'
        ),
    ),
    "quotes in quotes": (
        SCHEMA + rule(when='"name == "x""') + OTHERWISE,
        (
            ", line 4, column 18: it is not TOML: expected newline or end of document after a statement\n"
            '    when = "name == "x""\n'
            "                     ^\n"
            "one line holds one key; inside \"…\" write texts as '…'"
        ),
    ),
    "no equals sign": (
        SCHEMA + "description 'x'\n" + OTHERWISE,
        (
            ", line 2, column 13: it is not TOML: expected '=' after a key in a key/value pair\n"
            "    description 'x'\n"
            "                ^\n"
            'a key is followed by =, as in lane = "queue"'
        ),
    ),
    "a table twice": (
        SCHEMA + OTHERWISE + OTHERWISE,
        ", line 4, column 11: it is not TOML: cannot declare otherwise twice\n"
        "    [otherwise]\n"
        "              ^\n" + ONE_TABLE,
    ),
    "rules in one bracket": (
        SCHEMA + "[rule]\nname = 'a'\n[rule]\nname = 'b'\n",
        ", line 4, column 6: it is not TOML: cannot declare rule twice\n    [rule]\n         ^\n" + ONE_TABLE,
    ),
    "a bracket too few": (
        SCHEMA + "[[rule]\n",
        (
            ", line 2, column 7: it is not TOML: expected ']]' at the end of an array declaration\n"
            "    [[rule]\n"
            "          ^\n"
            "a line in brackets is [otherwise], [[rule]] or [[example]]"
        ),
    ),
    "a key twice": (
        SCHEMA + SCHEMA,
        (
            ", line 2, column 11: it is not TOML: cannot overwrite a value\n"
            "    schema = 1\n"
            "              ^\n"
            "a key can stand only once in a table, and every rule starts with [[rule]]"
        ),
    ),
    "a text that ends with the file": (
        SCHEMA + 'description = "日本\t',
        (
            ", line 2, column 18: it is not TOML: unterminated string\n"
            '    description = "日本\n'
            "                       ^\n"
            "close it with the same quote on the same line"
        ),
    ),
    "too many digits": ("schema = " + "1" * 5_000, ": a number has thousands of digits; write a shorter one"),
    "too many brackets": ("x = " + "[" * 9_000, ": brackets are nested too deep; a policy needs no more than two"),
    # the whole file
    "no schema": (OTHERWISE, ", schema: it is missing; write schema = 1 at the top of the file"),
    "another schema": (
        "schema = 2\n" + OTHERWISE,
        ", schema: it is 2; this version of weighbridge reads schema = 1",
    ),
    "a schema in quotes": (
        "schema = '1'\n" + OTHERWISE,
        ", schema: it is '1'; this version of weighbridge reads schema = 1",
    ),
    "a schema that equals 1": (
        "schema = true\n" + OTHERWISE,
        ", schema: it is true; this version of weighbridge reads schema = 1",
    ),
    "a misspelt table": (SCHEMA + "[[rules]]\n" + OTHERWISE, ", rules: there is no such key; did you mean rule?"),
    "an unknown key": (
        SCHEMA + "colour = 'red'\n" + OTHERWISE,
        ", colour: there is no such key; the keys here are schema, description, rule, otherwise, example",
    ),
    "a description that is a number": (
        SCHEMA + "description = 5\n" + OTHERWISE,
        ', description: it is 5, and has to be text in quotes; write description = "…", or leave it out',
    ),
    # otherwise
    "no last word": (SCHEMA, f", [otherwise]: it is missing; end the rules with [otherwise] and {LANES}"),
    "several last words": (
        SCHEMA + "[[otherwise]]\nlane = 'queue'\n",
        f", [otherwise]: it is a list, and has to be a table; end the rules with [otherwise] and {LANES}",
    ),
    "a last word without a lane": (
        SCHEMA + "[otherwise]\n",
        f", [otherwise], lane: it is missing; write {LANES}",
    ),
    "a condition on the last word": (
        SCHEMA + OTHERWISE + "when = 'is_async'\n",
        ", [otherwise], when: there is no such key; the keys here are lane, reason",
    ),
    # lanes
    "a misspelt lane": (
        SCHEMA + "[otherwise]\nlane = 'inprocess'\n",
        ", [otherwise], lane: there is no lane 'inprocess'; did you mean \"in_process\"?",
    ),
    "a lane of somebody else": (
        SCHEMA + rule(lane="'celery'") + OTHERWISE,
        f", rule 'heavy', lane: there is no lane 'celery'; write {LANES}",
    ),
    "a lane that is a number": (
        SCHEMA + rule(lane="5") + OTHERWISE,
        f", rule 'heavy', lane: there is no lane 5; write {LANES}",
    ),
    # rules
    "a rule without a name": (SCHEMA + rule(name="") + OTHERWISE, f", rule 1, name: it is missing; {NAME}"),
    "a rule without a condition": (
        SCHEMA + rule(when="") + OTHERWISE,
        f", rule 'heavy', when: it is missing; {WHEN}",
    ),
    "a rule without a lane": (
        SCHEMA + rule(lane="") + OTHERWISE,
        f", rule 'heavy', lane: it is missing; write {LANES}",
    ),
    "a misspelt key, before the key that is missing for it": (
        SCHEMA + rule(name="", more="nmae = 'x'\n") + OTHERWISE,
        ", rule 1, nmae: there is no such key; did you mean name?",
    ),
    "a key of the file in a rule": (
        SCHEMA + rule(more="description = 'x'\n") + OTHERWISE,
        (
            ", rule 'heavy', description: there is no such key; "
            "description belongs at the top of the file, above the first line in brackets"
        ),
    ),
    "a key that rules do not have": (
        SCHEMA + rule(more="priority = 3\n") + OTHERWISE,
        ", rule 'heavy', priority: there is no such key; the keys here are name, when, lane, reason",
    ),
    "an empty name": (SCHEMA + rule(name="''") + OTHERWISE, f", rule 1, name: it is empty; {NAME}"),
    "a name that is a number": (
        SCHEMA + rule(name="5") + OTHERWISE,
        f", rule 1, name: it is 5, and has to be text in quotes; {NAME}",
    ),
    "a name with blanks at its end": (
        SCHEMA + rule(name="'x '") + OTHERWISE,
        ", rule 'x ', name: it is 'x '; write printable characters on one line, without blanks at its ends",
    ),
    "a name that would colour a terminal": (
        SCHEMA + rule(name='"a\\u001b[31m"') + OTHERWISE,
        ", rule 1, name: it is 'a\\x1b[31m'; write printable characters on one line, without blanks at its ends",
    ),
    "a name that is too long": (
        SCHEMA + rule(name=f"'{'x' * 101}'") + OTHERWISE,
        f", rule '{'x' * 101}', name: it has 101 characters; 100 are the most",
    ),
    "the name of the last word": (
        SCHEMA + rule(name="'otherwise'") + OTHERWISE,
        ", rule 'otherwise', name: the name means [otherwise]; give the rule another",
    ),
    "a name twice": (
        SCHEMA + rule() + rule(when="'is_async'") + OTHERWISE,
        ", rule 2, name: rule 1 has the name 'heavy' too; give each rule its own, since decisions call it by its name",
    ),
    "a reason that is too long": (
        SCHEMA + rule(more=f"reason = '{'x' * 501}'\n") + OTHERWISE,
        ", rule 'heavy', reason: it has 501 characters; 500 are the most",
    ),
    "one rule in one bracket": (
        SCHEMA + "[rule]\nname = 'a'\n" + OTHERWISE,
        f", rule: it is a table, and there can be several; {RULES}",
    ),
    "a rule that is a number": (
        "rule = [5]\n" + SCHEMA + OTHERWISE,
        f", rule 1: it is 5, and has to be a table; {RULES}",
    ),
    # expressions
    "a misspelt fact": (
        SCHEMA + rule(when="'weigth >= 50'") + OTHERWISE,
        ", rule 'heavy', when: there is no fact 'weigth'\n    weigth >= 50\n    ^^^^^^\ndid you mean weight?",
    ),
    "a misspelt fact in the third line": (
        SCHEMA + rule(when="'''\n  weight >= 50\n  or quue == \"x\"\n'''") + OTHERWISE,
        ", rule 'heavy', when: there is no fact 'quue'\n    or quue == \"x\"\n       ^^^^\ndid you mean queue?",
    ),
    "a condition that is a number": (
        SCHEMA + rule(when="50") + OTHERWISE,
        f", rule 'heavy', when: it is 50, and has to be text in quotes; {WHEN}",
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_place_and_what_to_write(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, name="mine", source="mine.toml")
    assert str(caught.value) == f"policy mine.toml{message}"


def test_the_facts_of_an_error_can_be_read_from_it() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(SCHEMA + rule(when="'weigth >= 50'") + OTHERWISE, name="mine", source="mine.toml")
    error = caught.value
    assert (error.source, error.where) == ("mine.toml", "rule 'heavy', when")
    assert isinstance(error.__cause__, ExpressionError)
