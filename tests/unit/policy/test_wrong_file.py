"""What each mistake in a policy file is told: the file, the rule, the key, the place and what to write."""

from __future__ import annotations

import pytest

from weighbridge.errors import ExpressionError

from .refusal import OTHERWISE, SCHEMA, refusal_of

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
    "empty": (
        "",
        f", line 1: it is empty; {SMALLEST}",
    ),
    "only a comment": (
        "# to be written\n",
        (
            ", line 1: it is empty\n"
            "    # to be written\n"
            "    ^\n"
            'the smallest policy is schema = 1, [otherwise], lane = "in_process", each on its own line'
        ),
    ),
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
            ", line 2, column 1: it is not TOML: cannot overwrite a value\n"
            "    schema = 1\n"
            "    ^^^^^^\n"
            "a key can stand only once in a table, and every rule starts with [[rule]]"
        ),
    ),
    "a key twice, before a comment": (
        SCHEMA + "[otherwise]\nlane = 'queue'\n  lane = 'in_process' # 'or'\n",
        (
            ", line 4, column 3: it is not TOML: cannot overwrite a value\n"
            "    lane = 'in_process' # 'or'\n"
            "    ^^^^\n"
            "a key can stand only once in a table, and every rule starts with [[rule]]"
        ),
    ),
    "a key twice, of several lines": (
        "description = '''\none\n'''\ndescription = '''\ntwo\n'''",
        (
            ", line 4, column 1: it is not TOML: cannot overwrite a value\n"
            "    description = '''\n"
            "    ^^^^^^^^^^^\n"
            "a key can stand only once in a table, and every rule starts with [[rule]]"
        ),
    ),
    "a key twice, in one line": (
        SCHEMA + OTHERWISE + "[[example]]\nfacts = { loop.lag_ms = 3, loop . 'lag_ms' = 30, weight = 5 }\n",
        (
            ", line 5, column 28: it is not TOML: duplicate inline table key 'lag_ms'\n"
            "    facts = { loop.lag_ms = 3, loop . 'lag_ms' = 30, weight = 5 }\n"
            "                               ^^^^^^^^^^^^^^^\n"
            "a key can stand only once in a table, and every rule starts with [[rule]]"
        ),
    ),
    "a table below a value": (
        "schema = 1\n[schema.number]\nof = 1\n",
        (
            ", line 2, column 2: it is not TOML: cannot overwrite a value\n"
            "    [schema.number]\n"
            "     ^^^^^^^^^^^^^\n"
            "a key can stand only once in a table, and every rule starts with [[rule]]"
        ),
    ),
    "a number with thousands of digits below digits in texts and comments": (
        f"description = 'pi is 3.{'1' * 1_000}' # {'2' * 1_000}\nschema = {'9' * 5_000}\n",
        (
            ", line 2: a number has thousands of digits\n"
            f"    schema = {'9' * 91}…\n"
            f"             {'^' * 91}\n"
            "write a shorter one"
        ),
    ),
    "brackets that are nested too deep below brackets in a text": (
        f"description = '{'[' * 50}'\nschema = {'[' * 5_000}\n",
        (
            ", line 2: brackets are nested too deep\n"
            f"    schema = {'[' * 91}…\n"
            f"             {'^' * 30}\n"
            "a policy needs no more than two"
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
    "too many digits": (
        "schema = " + "1" * 5_000,
        (
            ", line 1: a number has thousands of digits\n"
            f"    schema = {'1' * 91}…\n"
            f"             {'^' * 91}\n"
            "write a shorter one"
        ),
    ),
    "too many brackets": (
        "x = " + "[" * 9_000,
        (
            ", line 1: brackets are nested too deep\n"
            f"    x = {'[' * 96}…\n"
            f"        {'^' * 30}\n"
            "a policy needs no more than two"
        ),
    ),
    # the whole file
    "no schema": (
        OTHERWISE,
        (", line 1, schema: it is missing\n    [otherwise]\n    ^^^^^^^^^^^\nwrite schema = 1 at the top of the file"),
    ),
    "another schema": (
        "schema = 2\n" + OTHERWISE,
        (", line 1, schema: it is 2\n    schema = 2\n             ^\nthis version of weighbridge reads schema = 1"),
    ),
    "a schema in quotes": (
        "schema = '1'\n" + OTHERWISE,
        (
            ", line 1, schema: it is '1'\n"
            "    schema = '1'\n"
            "             ^^^\n"
            "this version of weighbridge reads schema = 1"
        ),
    ),
    "a schema that equals 1": (
        "schema = true\n" + OTHERWISE,
        (
            ", line 1, schema: it is true\n"
            "    schema = true\n"
            "             ^^^^\n"
            "this version of weighbridge reads schema = 1"
        ),
    ),
    "a misspelt table": (
        SCHEMA + "[[rules]]\n" + OTHERWISE,
        (", line 2, rules: there is no such key\n    [[rules]]\n    ^^^^^^^^^\ndid you mean rule?"),
    ),
    "an unknown key": (
        SCHEMA + "colour = 'red'\n" + OTHERWISE,
        (
            ", line 2, colour: there is no such key\n"
            "    colour = 'red'\n"
            "    ^^^^^^\n"
            "the keys here are schema, description, extends, rule, otherwise, example"
        ),
    ),
    "a description that is a number": (
        SCHEMA + "description = 5\n" + OTHERWISE,
        (
            ", line 2, description: it is 5, and has to be text in quotes\n"
            "    description = 5\n"
            "                  ^\n"
            'write description = "…", or leave it out'
        ),
    ),
    # otherwise
    "no last word": (
        SCHEMA,
        (
            ", line 1, [otherwise]: it is missing\n"
            "    schema = 1\n"
            "    ^^^^^^\n"
            'end the rules with [otherwise] and lane = "in_process" or "queue"'
        ),
    ),
    "several last words": (
        SCHEMA + "[[otherwise]]\nlane = 'queue'\n",
        (
            ", line 2, [otherwise]: it is a list, and has to be a table\n"
            "    [[otherwise]]\n"
            "    ^^^^^^^^^^^^^\n"
            'end the rules with [otherwise] and lane = "in_process" or "queue"'
        ),
    ),
    "a last word without a lane": (
        SCHEMA + "[otherwise]\n",
        (
            ", line 2, [otherwise], lane: it is missing\n"
            "    [otherwise]\n"
            "    ^^^^^^^^^^^\n"
            'write lane = "in_process" or "queue"'
        ),
    ),
    "a condition on the last word": (
        SCHEMA + OTHERWISE + "when = 'is_async'\n",
        (
            ", line 4, [otherwise], when: there is no such key\n"
            "    when = 'is_async'\n"
            "    ^^^^\n"
            "the keys here are lane, reason"
        ),
    ),
    # lanes
    "a misspelt lane": (
        SCHEMA + "[otherwise]\nlane = 'inprocess'\n",
        (
            ", line 3, [otherwise], lane: there is no lane 'inprocess'\n"
            "    lane = 'inprocess'\n"
            "           ^^^^^^^^^^^\n"
            'did you mean "in_process"?'
        ),
    ),
    "a lane of somebody else": (
        SCHEMA + rule(lane="'celery'") + OTHERWISE,
        (
            ", line 5, rule 'heavy', lane: there is no lane 'celery'\n"
            "    lane = 'celery'\n"
            "           ^^^^^^^^\n"
            'write lane = "in_process" or "queue"'
        ),
    ),
    "a lane that is a number": (
        SCHEMA + rule(lane="5") + OTHERWISE,
        (
            ", line 5, rule 'heavy', lane: there is no lane 5\n"
            "    lane = 5\n"
            "           ^\n"
            'write lane = "in_process" or "queue"'
        ),
    ),
    # rules
    "a rule without a name": (
        SCHEMA + rule(name="") + OTHERWISE,
        (
            ", line 2, rule 1, name: it is missing\n"
            "    [[rule]]\n"
            "    ^^^^^^^^\n"
            'write name = "…": decisions and errors call the rule by it'
        ),
    ),
    "a rule without a condition": (
        SCHEMA + rule(when="") + OTHERWISE,
        (
            ", line 2, rule 'heavy', when: it is missing\n"
            "    [[rule]]\n"
            "    ^^^^^^^^\n"
            'write when = "…", as in when = "weight >= 50"'
        ),
    ),
    "a rule without a lane": (
        SCHEMA + rule(lane="") + OTHERWISE,
        (
            ", line 2, rule 'heavy', lane: it is missing\n"
            "    [[rule]]\n"
            "    ^^^^^^^^\n"
            'write lane = "in_process" or "queue"'
        ),
    ),
    "a misspelt key, before the key that is missing for it": (
        SCHEMA + rule(name="", more="nmae = 'x'\n") + OTHERWISE,
        (", line 5, rule 1, nmae: there is no such key\n    nmae = 'x'\n    ^^^^\ndid you mean name?"),
    ),
    "a key of the file in a rule": (
        SCHEMA + rule(more="description = 'x'\n") + OTHERWISE,
        (
            ", line 6, rule 'heavy', description: there is no such key\n"
            "    description = 'x'\n"
            "    ^^^^^^^^^^^\n"
            "description belongs at the top of the file, above the first line in brackets"
        ),
    ),
    "a key that rules do not have": (
        SCHEMA + rule(more="priority = 3\n") + OTHERWISE,
        (
            ", line 6, rule 'heavy', priority: there is no such key\n"
            "    priority = 3\n"
            "    ^^^^^^^^\n"
            "the keys here are name, when, lane, reason, unknown"
        ),
    ),
    "an empty name": (
        SCHEMA + rule(name="''") + OTHERWISE,
        (
            ", line 3, rule 1, name: it is empty\n"
            "    name = ''\n"
            "           ^^\n"
            'write name = "…": decisions and errors call the rule by it'
        ),
    ),
    "a name that is a number": (
        SCHEMA + rule(name="5") + OTHERWISE,
        (
            ", line 3, rule 1, name: it is 5, and has to be text in quotes\n"
            "    name = 5\n"
            "           ^\n"
            'write name = "…": decisions and errors call the rule by it'
        ),
    ),
    "a name with blanks at its end": (
        SCHEMA + rule(name="'x '") + OTHERWISE,
        (
            ", line 3, rule 'x ', name: it is 'x '\n"
            "    name = 'x '\n"
            "           ^^^^\n"
            "write printable characters on one line, without blanks at its ends"
        ),
    ),
    "a name that would colour a terminal": (
        SCHEMA + rule(name='"a\\u001b[31m"') + OTHERWISE,
        (
            ", line 3, rule 1, name: it is 'a\\x1b[31m'\n"
            '    name = "a\\u001b[31m"\n'
            "           ^^^^^^^^^^^^^\n"
            "write printable characters on one line, without blanks at its ends"
        ),
    ),
    "a name that is too long": (
        SCHEMA + rule(name=f"'{'x' * 101}'") + OTHERWISE,
        (
            f", line 3, rule '{'x' * 101}', name: it has 101 characters\n"
            f"    name = '{'x' * 92}…\n"
            f"           {'^' * 93}\n"
            "100 are the most"
        ),
    ),
    "the name of the last word": (
        SCHEMA + rule(name="'otherwise'") + OTHERWISE,
        (
            ", line 3, rule 'otherwise', name: the name means [otherwise]\n"
            "    name = 'otherwise'\n"
            "           ^^^^^^^^^^^\n"
            "give the rule another"
        ),
    ),
    "a name twice": (
        SCHEMA + rule() + rule(when="'is_async'") + OTHERWISE,
        (
            ", line 7, rule 2, name: rule 1 has the name 'heavy' too\n"
            "    name = 'heavy'\n"
            "           ^^^^^^^\n"
            "give each rule its own, since decisions call it by its name"
        ),
    ),
    "a reason that is too long": (
        SCHEMA + rule(more=f"reason = '{'x' * 501}'\n") + OTHERWISE,
        (
            ", line 6, rule 'heavy', reason: it has 501 characters\n"
            f"    reason = '{'x' * 90}…\n"
            f"             {'^' * 91}\n"
            "500 are the most"
        ),
    ),
    "one rule in one bracket": (
        SCHEMA + "[rule]\nname = 'a'\n" + OTHERWISE,
        (
            ", line 2, rule: it is a table, and there can be several\n"
            "    [rule]\n"
            "    ^^^^^^\n"
            "write [[rule]], in two brackets, above the keys of each rule"
        ),
    ),
    "a rule that is a number": (
        "rule = [5]\n" + SCHEMA + OTHERWISE,
        (
            ", line 1, rule 1: it is 5, and has to be a table\n"
            "    rule = [5]\n"
            "            ^\n"
            "write [[rule]], in two brackets, above the keys of each rule"
        ),
    ),
    # expressions
    "a misspelt fact": (
        SCHEMA + rule(when="'weigth >= 50'") + OTHERWISE,
        (
            ", line 4, rule 'heavy', when: there is no fact 'weigth'\n"
            "    when = 'weigth >= 50'\n"
            "            ^^^^^^\n"
            "did you mean weight?"
        ),
    ),
    "a misspelt fact in the third line": (
        SCHEMA + rule(when="'''\n  weight >= 50\n  or quue == \"x\"\n'''") + OTHERWISE,
        (
            ", line 6, rule 'heavy', when: there is no fact 'quue'\n"
            '    or quue == "x"\n'
            "       ^^^^\n"
            "did you mean queue?"
        ),
    ),
    "a condition that is a number": (
        SCHEMA + rule(when="50") + OTHERWISE,
        (
            ", line 4, rule 'heavy', when: it is 50, and has to be text in quotes\n"
            "    when = 50\n"
            "           ^^\n"
            'write when = "…", as in when = "weight >= 50"'
        ),
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_place_and_what_to_write(text: str, message: str) -> None:
    assert str(refusal_of(text)) == f"policy ours.toml{message}"


def test_the_facts_of_an_error_can_be_read_from_it() -> None:
    error = refusal_of(SCHEMA + rule(when="'weigth >= 50'") + OTHERWISE)
    assert (error.source, error.where) == ("ours.toml", "line 4, rule 'heavy', when")
    assert isinstance(error.__cause__, ExpressionError)
