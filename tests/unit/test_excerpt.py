"""How an error message shows a place in somebody's text."""

from __future__ import annotations

from weighbridge.errors import ExpressionError
from weighbridge.excerpt import EXCERPT_WIDTH, marked


def test_a_long_line_is_cut_around_the_place() -> None:
    line, carets = marked("x" * 200 + " bad " + "y" * 300, offset=201, length=3).split("\n")
    assert line.startswith("    …x")
    assert line.endswith("y…")
    assert len(line) == 4 + EXCERPT_WIDTH + 2
    assert line[carets.index("^") : carets.rindex("^") + 1] == "bad"


def test_a_place_that_is_longer_than_a_line_can_be_is_marked_as_far_as_it_is_shown() -> None:
    line, carets = marked("x" * 300, offset=10, length=280).split("\n")
    assert len(carets) == len(line.rstrip("…"))


def test_a_place_that_goes_on_in_the_next_line_is_marked_to_the_end_of_its_first() -> None:
    assert marked("one two\nthree", offset=4, length=9) == "    one two\n        ^^^"


def test_the_end_of_a_text_can_be_marked() -> None:
    assert marked("weight >", offset=8) == "    weight >\n            ^"


def test_an_empty_text_can_be_marked() -> None:
    assert marked("", offset=0) == "    \n    ^"


def test_what_cannot_be_printed_is_shown_as_a_replacement() -> None:
    assert marked("a\x1b[31m \tb", offset=8) == "    a\ufffd[31m  b\n            ^"


def test_an_expression_error_without_a_remedy_ends_with_its_carets() -> None:
    error = ExpressionError(expression="weight >", problem="it ends", offset=8)
    assert str(error) == "it ends\n    weight >\n            ^"
