"""What each mistake in a ``when`` is told, and where its carets stand."""

from __future__ import annotations

import pytest

from weighbridge.errors import ExpressionError
from weighbridge.policy import Expression

NO_CALCULATION = "a rule does not calculate; compare a fact with the finished number"
ONLY_COMPARES = "a rule compares facts and literals, and nothing else"
JOIN = "join statements with and, or, not"
NUMBERS = "write numbers as in 50, 0.5 or 1_000, without a unit, and a space after them"
UNKNOWN = "for unknown readings a rule has the key unknown, so nothing"
EVERY_FACT = (
    "the facts are name, weight, payload_bytes, queue, priority, tags, is_async, in_process.running, "
    "in_process.waiting, in_process.threads_free, loop.lag_ms, loop.age_s, broker.available, broker.waiting, "
    "broker.age_s"
)

#: The source, the text that the carets mark, the problem, the remedy.
MISTAKES = [
    # facts that do not exist
    ("weigth >= 50", "weigth", "there is no fact 'weigth'", "did you mean weight?"),
    ("payload > 5", "payload", "there is no fact 'payload'", "did you mean payload_bytes?"),
    (
        "waiting > 3",
        "waiting",
        "there is no fact 'waiting'",
        "did you mean in_process.waiting or broker.waiting?",
    ),
    ("lag > 3", "lag", "there is no fact 'lag'", "did you mean loop.lag_ms?"),
    (
        "in_process.waitin > 3",
        "in_process.waitin",
        "there is no fact 'in_process.waitin'",
        "did you mean in_process.waiting?",
    ),
    (
        "loop.__class__ == 1",
        "loop.__class__",
        "there is no fact 'loop.__class__'",
        "its parts are loop.lag_ms, loop.age_s",
    ),
    ("weight.real > 1", "weight.real", "there is no fact 'weight.real'", "weight is a number and has no parts"),
    ("loop > 5", "loop", "loop has parts", "name a part of it: loop.lag_ms or loop.age_s"),
    (
        "broker",
        "broker",
        "broker has parts",
        "name a part of it: broker.available, broker.waiting or broker.age_s",
    ),
    ("cost > 5", "cost", "there is no fact 'cost'", EVERY_FACT),
    ("durable", "durable", "there is no fact 'durable'", "a durable task is always queued, before any policy is asked"),
    (
        "not shares_memory",
        "shares_memory",
        "there is no fact 'shares_memory'",
        "a task that shares memory always stays, before any policy is asked",
    ),
    ("task == 'x'", "task", "there is no fact 'task'", "did you mean name?"),
    ("is_async == true", "true", "there is no fact 'true'", "write True"),
    ("false or is_async", "false", "there is no fact 'false'", "write False"),
    ("loop.lag_ms == None", "None", "there is no fact 'None'", f"{UNKNOWN} has to ask for None"),
    ("loop.lag_ms != null", "null", "there is no fact 'null'", f"{UNKNOWN} has to ask for it"),
    ("loop.lag_ms is None", "is", "is cannot stand here", f"write == or !=; {UNKNOWN} asks for None"),
    # kinds
    (
        "weight >= '50'",
        "weight >= '50'",
        "weight is a number, and '50' is text",
        "only values of one kind can be compared",
    ),
    (
        "is_async == 1",
        "is_async == 1",
        "is_async is true or false, and 1 is a number",
        "only values of one kind can be compared",
    ),
    ("name < 'b'", "<", "< compares numbers, and name is text", "write == or !="),
    ("is_async > False", ">", "> compares numbers, and is_async is true or false", "write == or !="),
    ("tags == name", "tags == name", "tags cannot be compared", "ask for one tag, as in 'billing' in tags"),
    ("5 in tags", "5", "a tag is text, and 5 is a number", "ask for one tag, as in 'billing' in tags"),
    ("tags in ['a']", "tags", "tags cannot be looked for", "ask for one tag, as in 'billing' in tags"),
    ("weight", "weight", "weight is a number, and not a statement", "compare it, as in weight >= 50"),
    ("not name", "name", "name is text, and not a statement", "compare it, as in name == 'mail'"),
    (
        "is_async and tags",
        "tags",
        "tags is a list of tags, and not a statement",
        "ask for one tag, as in 'billing' in tags",
    ),
    ("queue == 'a' or 'b'", "'b'", "'b' is text, and not a statement", "compare a fact with it"),
    (
        "(weight > 5) == True",
        "(weight > 5)",
        "(weight > 5) is a statement, and only facts and literals can be compared",
        JOIN,
    ),
    # lists
    ("weight in []", "[]", "the list is empty", "write its values"),
    ("weight in (5)", "(5)", "one value in parentheses is no list", "write it in [ ]"),
    ("weight in ['a']", "'a'", "weight is a number, and 'a' is text", "a list holds what can be equal to it"),
    (
        "weight in [5, priority]",
        "priority",
        "priority is a fact, and a list holds literals",
        "compare the two facts with ==",
    ),
    ("weight in [5 6]", "6", "6 cannot stand here", "put a comma between the values of a list, and ] at its end"),
    ("weight in [5,", "", "the expression ends after ,", "write what follows ,"),
    (
        "'a' in name",
        "name",
        "in needs a list, and name is text",
        "write the list out, as in queue in ['mail', 'heavy']",
    ),
    ("tags == ['a']", "[", "[ cannot stand here", "a list can only stand after in"),
    # grammar
    ("", "", "the expression is empty", "write a statement about facts, as in weight >= 50"),
    ("  # nothing", " ", "the expression is empty", "write a statement about facts, as in weight >= 50"),
    ("weight >= 50 and", "", "the expression ends after and", "write what follows and"),
    ("weight >=", "", "the expression ends after >=", "write what follows >="),
    ("weight 50", "50", "50 cannot stand here", JOIN),
    ("and is_async", "and", "and cannot stand here", "something has to stand on both sides of it"),
    ("weight > > 5", ">", "> cannot stand here", "something has to stand on both sides of it"),
    ("(weight > 5", "(", "the parenthesis is not closed", "write ) where it ends"),
    ("weight > 5)", ")", ") cannot stand here", "remove it, or write what it closes"),
    ("weight = 50", "=", "= cannot stand here", "write == to compare"),
    ("weight => 50", "=>", "=> cannot stand here", "write >="),
    ("weight <> 50", "<>", "<> cannot stand here", "write !="),
    ("weight > 5 && is_async", "&&", "&& cannot stand here", "write and"),
    ("weight > 5 || is_async", "||", "|| cannot stand here", "write or"),
    ("!is_async", "!", "! cannot stand here", "write not, or !="),
    ("weight > 5 AND is_async", "AND", "AND cannot stand here", "write it in small letters"),
    ("weight > 5 & is_async", "&", "& cannot stand here", JOIN),
    (
        "is_async == not True",
        "not",
        "not cannot stand here",
        "write not in front of the whole comparison, or in parentheses",
    ),
    # more than a statement about facts
    ("weight + 1 > 5", "+", "+ cannot stand here", NO_CALCULATION),
    ("weight >= -priority", "-", "- cannot stand here", NO_CALCULATION),
    ("len(tags) > 2", "len", "there is no fact 'len'", EVERY_FACT),
    ("name('x')", "(", "( cannot stand here", ONLY_COMPARES),
    ("weight[0] > 5", "[", "[ cannot stand here", "a list can only stand after in"),
    ("lambda: True", "lambda", "lambda cannot stand here", ONLY_COMPARES),
    ("(x := weight) > 5", "x", "there is no fact 'x'", EVERY_FACT),
    ("weight := 5", ":=", ":= cannot stand here", "write == to compare"),
    (
        "weight > 5 if is_async else False",
        "if",
        "if cannot stand here",
        "write two rules, or join statements with and, or, not",
    ),
    ("f'{name}' == name", "f", "a text cannot have the prefix f", "leave out the f"),
    ("name == b'x'", "b", "a text cannot have the prefix b", "leave out the b"),
    ("__import__('os')", "__import__", "there is no fact '__import__'", EVERY_FACT),
    # characters, texts and numbers
    ("weight ≥ 50", "≥", "the character '≥' has no meaning here", "write >="),
    ("name == “x”", "“", "the character '“' has no meaning here", 'write "'),
    ("weight\u00a0> 5", "\u00a0", "the character U+00A0 has no meaning here", "write a plain space"),
    ("weight > 5 €", "€", "the character '€' has no meaning here", "remove it"),
    ("name == 'x", "'x", "the text does not end", "close it with ' on the same line"),
    (
        "name == 'a\\n'",
        "\\",
        "a backslash cannot stand in a text",
        "texts are taken as they stand, between '…' or \"…\"",
    ),
    ("weight >= 50ms", "50ms", "50ms is not a number", NUMBERS),
    ("weight >= 5and is_async", "5and", "5and is not a number", NUMBERS),
    ("weight >= 0x10", "0x10", "0x10 is not a number", NUMBERS),
    ("weight >= 1.2.3", "1.2.3", "1.2.3 is not a number", NUMBERS),
    ("weight >= 3j", "3j", "3j is not a number", NUMBERS),
    ("weight >= 007", "007", "007 starts with a zero", "write numbers as in 50, 0.5 or 1_000"),
    ("weight > 1e999", "1e999", "1e999 is too large", "the largest number is 9_007_199_254_740_992"),
    (
        "weight > " + "9" * 500,
        "9" * 500,
        f"{'9' * 40}… is too large",
        "the largest number is 9_007_199_254_740_992",
    ),
]


@pytest.mark.parametrize(("source", "place", "problem", "remedy"), MISTAKES)
def test_a_mistake_is_named_with_its_place_and_what_to_write(
    source: str, place: str, problem: str, remedy: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.parse(source)
    error = caught.value
    marked = source[error.offset : error.offset + error.length]
    assert (error.problem, error.remedy, marked) == (problem, remedy, place)


def test_the_carets_stand_under_the_place() -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.parse("weight >= 50 and is_asink")
    assert str(caught.value) == (
        "there is no fact 'is_asink'\n"
        "    weight >= 50 and is_asink\n"
        "                     ^^^^^^^^\n"
        "did you mean is_async?"
    )


def test_of_several_lines_the_one_with_the_place_is_shown() -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.parse("\n    weight >= 50\n\t  or\tweigth >= 5\n    or is_async\n")
    assert caught.value.excerpt == "    or weigth >= 5\n       ^^^^^^"


def test_the_carets_stand_right_below_wide_and_combined_characters() -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.parse("name == '日本e\u0301' and weigth >= 5")
    line, carets = caught.value.excerpt.split("\n")
    assert line == "    name == '日本e\u0301' and weigth >= 5"
    # two columns each for two characters, none for the accent
    assert carets == " " * (4 + len("name == '日本e' and ") + 2) + "^" * 6
