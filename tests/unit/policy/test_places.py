"""Where keys and values stand in TOML, however it is written."""

from __future__ import annotations

import pytest

from weighbridge.errors import PolicyError
from weighbridge.policy import parse_policy
from weighbridge.policy.places import Places, Span, locate

ODD = '''
# [[rule]] in a comment, and a quote: "
schema = 1   # name = "x"
description = """
[[rule]]
name = "not this one"
"""

[[rule]]
name = 'a # b'
when = \'\'\'
it's "x" in [[rule]]\'\'\'
  [[ "rule" ]]   # quoted
"na\\u006de" = """quo""te"""""
'when' = "escaped \\" quote"
since = 1979-05-27 07:32:00
[rule.more.parts]
deep = [
  1, # one ]
  { x = [2, "]"] },
]

[otherwise]
lane.of.calls = { a = 1, b.c = '}' }
'''


def text_at(places: Places, span: Span) -> str:
    return places.text[span.offset : span.offset + span.length]


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("schema",), "schema", "1"),
        (("description",), "description", '"""\n[[rule]]\nname = "not this one"\n"""'),
        (("rule", 0), "[[rule]]", "[[rule]]"),
        (("rule", 0, "name"), "name", "'a # b'"),
        (("rule", 0, "when"), "when", "'''\nit's \"x\" in [[rule]]'''"),
        (("rule", 1), '[[ "rule" ]]', '[[ "rule" ]]'),
        (("rule", 1, "name"), '"na\\u006de"', '"""quo""te"""""'),
        (("rule", 1, "when"), "'when'", '"escaped \\" quote"'),
        (("rule", 1, "since"), "since", "1979-05-27 07:32:00"),
        (("rule", 1, "more"), "[rule.more.parts]", "[rule.more.parts]"),
        (("rule", 1, "more", "parts", "deep", 0), "1", "1"),
        (("rule", 1, "more", "parts", "deep", 1, "x", 1), '"]"', '"]"'),
        (("otherwise",), "[otherwise]", "[otherwise]"),
        (("otherwise", "lane", "of"), "of", "of"),
        (("otherwise", "lane", "of", "calls", "b", "c"), "c", "'}'"),
        (("otherwise", "missing"), "[otherwise]", "[otherwise]"),
        (("rule", 0, "lane"), "[[rule]]", "[[rule]]"),
        (("nothing",), "schema", "schema"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_keys_and_values_are_found(path: tuple[str | int, ...], key: str, value: str, line_end: str) -> None:
    places = locate(ODD.replace("\n", line_end))
    assert text_at(places, places.key(path)) == key
    assert text_at(places, places.value(path)) == value


def test_tables_written_inline_are_found() -> None:
    places = locate('rule = [\n  { name = "a" },\n  { name = "b", when = "is_async" },\n]\n')
    assert text_at(places, places.value(("rule", 1, "name"))) == '"b"'
    assert text_at(places, places.key(("rule", 1, "lane"))) == '{ name = "b", when = "is_async" }'
    assert places.line(places.key(("rule", 1))) == 3


def test_a_text_that_is_not_toml_has_the_places_before_the_mistake() -> None:
    places = locate("a = 1\nb = = 2\n")
    assert text_at(places, places.key(("a",))) == "a"
    assert locate("").key(("a",)) == Span(0)


def test_brackets_that_are_nested_too_deep_have_no_place() -> None:
    assert locate("x = " + "[" * 9_000).line(Span(0)) == 1


WHENS = {
    "a literal text": "'weight >= wieght'",
    "a basic text": '"weight >= wieght"',
    "a text of several lines": "'''\n\n   weight >=\n   wieght'''",
    "a basic text of several lines": '"""weight >=\n   wieght"""',
}


@pytest.mark.parametrize("when", WHENS.values(), ids=WHENS.keys())
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_mistake_in_an_expression_is_marked_in_the_file_s_own_line(when: str, line_end: str) -> None:
    text = f"schema = 1\n[[rule]]\nname = 'a'\nwhen = {when}\nlane = 'queue'\n[otherwise]\nlane = 'queue'\n"
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.replace("\n", line_end), name="ours", source="ours.toml")
    line, carets = caught.value.excerpt.split("\n")
    shown = next(each for each in text.split("\n") if "wieght" in each)
    number = text.split("\n").index(shown) + 1
    assert caught.value.where == f"line {number}, rule 'a', when"
    assert line.strip() == shown.strip()
    assert line[carets.index("^") :].startswith("wieght")
    assert carets.count("^") == len("wieght")


def test_an_expression_with_escapes_is_shown_by_itself() -> None:
    when = r'when = "name == \"x\" or wieght"'
    text = f"schema = 1\n[[rule]]\nname = 'a'\n{when}\nlane = 'queue'\n[otherwise]\nlane = 'queue'\n"
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, name="ours", source="ours.toml")
    assert str(caught.value) == (
        "policy ours.toml, line 4, rule 'a', when: there is no fact 'wieght'\n"
        '    name == "x" or wieght\n'
        "                   ^^^^^^\n"
        "did you mean weight?"
    )


@pytest.mark.parametrize("when", ["''", '"  "', "'''\n'''"])
def test_an_empty_expression_is_marked_as_a_whole(when: str) -> None:
    text = f"schema = 1\n[[rule]]\nname = 'a'\nwhen = {when}\nlane = 'queue'\n[otherwise]\nlane = 'queue'\n"
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, name="ours", source="ours.toml")
    first = when.partition("\n")[0]
    assert caught.value.where == "line 4, rule 'a', when"
    assert caught.value.excerpt == f"    when = {first}\n           {'^' * len(first)}"
