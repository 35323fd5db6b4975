"""Texts and numbers as HTTP headers carry them, by RFC 9651."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.servers.structured_field import members_of

from weighbridge.background.structured_field import number, text
from weighbridge.task import HEAVIEST


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("app.notify", '"app.notify"'),
        ('say "hi"', r'"say \"hi\""'),
        ("C:\\temp", r'"C:\\temp"'),
        ("", '""'),
        ("über 50 %", '%"%c3%bcber 50 %25"'),
        ("a\r\nSet-Cookie: b", '%"a%0d%0aSet-Cookie: b"'),
        ('"ü"', '%"%22%c3%bc%22"'),
        ("\ud83d", '%"?"'),
    ],
)
def test_a_text_is_a_string_or_where_that_cannot_carry_it_a_display_string(value: str, written: str) -> None:
    assert text(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (80.0, "80"),
        (80, "80"),
        (49.9, "49.9"),
        (0.0004, "0"),
        (1.2345, "1.234"),
        (999_999_999_999.9999, "1000000000000"),
        (HEAVIEST, "1000000000000"),
    ],
)
def test_a_number_is_an_integer_or_a_decimal_of_three_places(value: float, written: str) -> None:
    assert number(value) == written


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example('%"%22')
def test_any_text_comes_back_from_a_reader_and_has_no_line_break(value: str) -> None:
    written = text(value)
    assert written.isascii()
    assert written.isprintable()
    assert members_of(f"queue;rule={written}") == [("queue", {"rule": value})]


@given(st.text(st.characters(categories=["Cs", "L"]), min_size=1))
def test_half_characters_leave_a_value_that_can_be_read(value: str) -> None:
    assert members_of(f"queue;rule={text(value)}")


@given(st.floats(min_value=0, max_value=HEAVIEST))
def test_any_weight_comes_back_from_a_reader(value: float) -> None:
    [(_, parameters)] = members_of(f"queue;weight={number(value)}")
    assert parameters["weight"] == pytest.approx(value, abs=0.0006)
