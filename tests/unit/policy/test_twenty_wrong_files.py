"""Twenty wrong files and as many again, each with the whole message that it gets."""

from __future__ import annotations

import pytest

from weighbridge.policy import shipped_names

from .refusal import refusal_of

SHIPPED = ", ".join(shipped_names())

#: What is wrong, the file, and the message.
WRONG_FILES = [
    (
        "an empty file",
        """\
# to be written
""",
        """\
policy ours.toml, line 1: it is empty
    # to be written
    ^
the smallest policy is schema = 1, [otherwise], lane = "in_process", each on its own line
""",
    ),
    (
        "text without quotes",
        """\
schema = 1

[otherwise]
lane = queue
""",
        """\
policy ours.toml, line 4, column 8: it is not TOML: invalid value
    lane = queue
           ^
put text in quotes, as in lane = "queue"
""",
    ),
    (
        "a quote that is not closed",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, column 21: it is not TOML: illegal character '\\n'
    when = "weight >= 50
                        ^
close texts with the same quote on the same line
""",
    ),
    (
        "a rule in one bracket, twice",
        """\
schema = 1

[rule]
name = "a"

[rule]
name = "b"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 6, column 6: it is not TOML: cannot declare rule twice
    [rule]
         ^
a table can stand only once; every rule starts with [[rule]], in two brackets
""",
    ),
    (
        "no schema",
        """\
[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 1, schema: it is missing
    [otherwise]
    ^^^^^^^^^^^
write schema = 1 at the top of the file
""",
    ),
    (
        "a schema of the future",
        """\
schema = 2

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 1, schema: it is 2
    schema = 2
             ^
this version of weighbridge reads schema = 1
""",
    ),
    (
        "an unknown key at the top",
        """\
schema = 1
version = 3

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 2, version: there is no such key
    version = 3
    ^^^^^^^
the keys here are schema, description, extends, rule, otherwise, example
""",
    ),
    (
        "a misspelt key at the top",
        """\
schema = 1
descripton = "For reports."

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 2, descripton: there is no such key
    descripton = "For reports."
    ^^^^^^^^^^
did you mean description?
""",
    ),
    (
        "a misspelt table",
        """\
schema = 1

[[rules]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 3, rules: there is no such key
    [[rules]]
    ^^^^^^^^^
did you mean rule?
""",
    ),
    (
        "a misspelt key in a rule",
        """\
schema = 1

[[rule]]
name = "heavy"
wen = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', wen: there is no such key
    wen = "weight >= 50"
    ^^^
did you mean when?
""",
    ),
    (
        "a key of another format in a rule",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"
priority = 3

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 7, rule 'heavy', priority: there is no such key
    priority = 3
    ^^^^^^^^
the keys here are name, when, lane, reason, unknown
""",
    ),
    (
        "a rule without a lane",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 3, rule 'heavy', lane: it is missing
    [[rule]]
    ^^^^^^^^
write lane = "in_process" or "queue"
""",
    ),
    (
        "a condition in the last word",
        """\
schema = 1

[otherwise]
lane = "in_process"
when = "is_async"
""",
        """\
policy ours.toml, line 5, [otherwise], when: there is no such key
    when = "is_async"
    ^^^^
the keys here are lane, reason
""",
    ),
    (
        "no last word",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"
""",
        """\
policy ours.toml, line 6, [otherwise]: it is missing
    lane = "queue"
    ^^^^
end the rules with [otherwise] and lane = "in_process" or "queue"
""",
    ),
    (
        "a lane that does not exist",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "celery"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 6, rule 'heavy', lane: there is no lane 'celery'
    lane = "celery"
           ^^^^^^^^
write lane = "in_process" or "queue"
""",
    ),
    (
        "a misspelt lane",
        """\
schema = 1

[otherwise]
lane = "inprocess"
""",
        """\
policy ours.toml, line 4, [otherwise], lane: there is no lane 'inprocess'
    lane = "inprocess"
           ^^^^^^^^^^^
did you mean "in_process"?
""",
    ),
    (
        "a number for a condition",
        """\
schema = 1

[[rule]]
name = "heavy"
when = 50
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: it is 50, and has to be text in quotes
    when = 50
           ^^
write when = "…", as in when = "weight >= 50"
""",
    ),
    (
        "two rules of one name",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[[rule]]
name = "heavy"
when = "is_async"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 9, rule 2, name: rule 1 has the name 'heavy' too
    name = "heavy"
           ^^^^^^^
give each rule its own, since decisions call it by its name
""",
    ),
    (
        "a rule of the name of the last word",
        """\
schema = 1

[[rule]]
name = "otherwise"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 4, rule 'otherwise', name: the name means [otherwise]
    name = "otherwise"
           ^^^^^^^^^^^
give the rule another
""",
    ),
    (
        "a misspelt fact",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weigth >= 50 or is_async"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: there is no fact 'weigth'
    when = "weigth >= 50 or is_async"
            ^^^^^^
did you mean weight?
""",
    ),
    (
        "a misspelt fact in the third line",
        '''\
schema = 1

[[rule]]
name = "heavy"
when = """
    weight >= 50
    or in_process.waitng >= 8
"""
lane = "queue"

[otherwise]
lane = "in_process"
''',
        """\
policy ours.toml, line 7, rule 'heavy', when: there is no fact 'in_process.waitng'
    or in_process.waitng >= 8
       ^^^^^^^^^^^^^^^^^
did you mean in_process.waiting?
""",
    ),
    (
        "a reading as a whole",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "broker"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: broker has parts
    when = "broker"
            ^^^^^^
name a part of it: broker.available, broker.waiting or broker.age_s
""",
    ),
    (
        "a number for a statement",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: weight is a number, and not a statement
    when = "weight"
            ^^^^^^
compare it, as in weight >= 50
""",
    ),
    (
        "an empty condition",
        """\
schema = 1

[[rule]]
name = "heavy"
when = ""
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: the expression is empty
    when = ""
           ^^
write a statement about facts, as in weight >= 50
""",
    ),
    (
        "one equals sign",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "queue = 'mail'"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: = cannot stand here
    when = "queue = 'mail'"
                  ^
write == to compare
""",
    ),
    (
        "a call",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "name.startswith('app.')"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: there is no fact 'name.startswith'
    when = "name.startswith('app.')"
            ^^^^^^^^^^^^^^^
name is text and has no parts
""",
    ),
    (
        "a sum",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight * 2 >= 50"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: * cannot stand here
    when = "weight * 2 >= 50"
                   ^
a rule does not calculate; compare a fact with the finished number
""",
    ),
    (
        "a tag that is compared",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "tags == 'mail'"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: tags cannot be compared
    when = "tags == 'mail'"
            ^^^^^^^^^^^^^^
ask for one tag, as in 'billing' in tags
""",
    ),
    (
        "a text that is compared with a number",
        """\
schema = 1

[[rule]]
name = "heavy"
when = 'queue == 5'
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: queue is text, and 5 is a number
    when = 'queue == 5'
            ^^^^^^^^^^
only values of one kind can be compared
""",
    ),
    (
        "a question for None",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "loop.lag_ms is None"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 'heavy', when: is cannot stand here
    when = "loop.lag_ms is None"
                        ^^
write == or !=; for unknown readings a rule has the key unknown, so nothing asks for None
""",
    ),
    (
        "an unknown that does not exist",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "loop.lag_ms > 20"
unknown = "yes"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 6, rule 'heavy', unknown: it is 'yes'
    unknown = "yes"
              ^^^^^
write unknown = "no match" or "match"
""",
    ),
    (
        "an unknown that can never be",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
unknown = "match"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 6, rule 'heavy', unknown: no fact in its when can be unknown
    unknown = "match"
    ^^^^^^^
leave it out
""",
    ),
    (
        "a misspelt base",
        """\
schema = 1
extends = "by-wieght"
""",
        f"""\
policy ours.toml, line 2, extends: there is no shipped policy 'by-wieght'
    extends = "by-wieght"
              ^^^^^^^^^^^
did you mean by-weight? (shipped are {SHIPPED})
""",
    ),
    (
        "a base that is a file",
        """\
schema = 1
extends = "./ours.toml"
""",
        f"""\
policy ours.toml, line 2, extends: './ours.toml' is a path
    extends = "./ours.toml"
              ^^^^^^^^^^^^^
only a shipped policy can be extended, by its name; shipped are {SHIPPED}
""",
    ),
    (
        "a rule that its base has",
        """\
schema = 1
extends = "by-weight"

[[rule]]
name = "heavy work is queued"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"
""",
        """\
policy ours.toml, line 5, rule 1, name: by-weight has a rule 'heavy work is queued' too
    name = "heavy work is queued"
           ^^^^^^^^^^^^^^^^^^^^^^
give each rule its own, since decisions call it by its name
""",
    ),
    (
        "a misspelt key in an example",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"

[[example]]
fact = { weight = 80 }
lane = "queue"
""",
        """\
policy ours.toml, line 12, example 1, fact: there is no such key
    fact = { weight = 80 }
    ^^^^
did you mean facts?
""",
    ),
    (
        "a misspelt fact in an example",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"

[[example]]
facts = { wieght = 80 }
lane = "queue"
""",
        """\
policy ours.toml, line 12, example 1, facts, wieght: there is no such fact
    facts = { wieght = 80 }
              ^^^^^^
did you mean weight?
""",
    ),
    (
        "a misspelt reading in an example",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"

[[example]]
facts = { in_process = { waitng = 9 } }
lane = "queue"
""",
        """\
policy ours.toml, line 12, example 1, facts, in_process.waitng: there is no such fact
    facts = { in_process = { waitng = 9 } }
                             ^^^^^^
did you mean in_process.waiting?
""",
    ),
    (
        "text for a number in an example",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"

[[example]]
facts = { weight = "80" }
lane = "queue"
""",
        """\
policy ours.toml, line 12, example 1, facts, weight: it is '80'
    facts = { weight = "80" }
                       ^^^^
give a number ≥ 0
""",
    ),
    (
        "an example that comes out otherwise",
        """\
schema = 1

[[rule]]
name = "heavy"
when = "weight >= 50"
lane = "queue"

[otherwise]
lane = "in_process"

[[example]]
facts = { weight = 50 }
lane = "in_process"
""",
        """\
policy ours.toml, line 11, example 1: expected in_process, got queue by rule 'heavy', for { weight = 50 }
    [[example]]
    ^^^^^^^^^^^
correct the example, or the rules
""",
    ),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in WRONG_FILES], ids=[row[0] for row in WRONG_FILES])
def test_a_wrong_file_is_told_what_is_wrong_where_and_what_to_write(text: str, message: str) -> None:
    assert f"{refusal_of(text)}\n" == message


@pytest.mark.parametrize("message", [row[2] for row in WRONG_FILES], ids=[row[0] for row in WRONG_FILES])
def test_a_message_names_the_file_and_the_line_first(message: str) -> None:
    assert message.startswith("policy ours.toml, line ")


@pytest.mark.parametrize("message", [row[2] for row in WRONG_FILES], ids=[row[0] for row in WRONG_FILES])
def test_a_message_ends_with_a_line_of_the_file_its_carets_and_what_to_write(message: str) -> None:
    _, _, carets, remedy = message.removesuffix("\n").split("\n")
    assert set(carets) == {" ", "^"}
    assert remedy.strip()
