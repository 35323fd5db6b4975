"""However TOML is written, a key's place is where that key is, and a value's place where that value is."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_policy import as_toml

from weighbridge.policy.places import Path, Places, locate

hostile = st.text(st.sampled_from("a[]{}=,.#'\"\\\n é"), max_size=8) | st.just("[[rule]]") | st.just('"""')
blanks = st.sampled_from(["", " ", "\t"])
gaps = st.sampled_from(["", "\n", "# [[rule]]\n", '# "\n\n', "  \n"])


def literal(text: str) -> str | None:
    """A text in single quotes, if it can stand there."""
    return f"'{text}'" if "'" not in text and "\n" not in text else None


def many_lines(text: str, quote: str) -> str | None:
    written = f"{quote * 3}\n{text}{quote * 3}"
    try:
        return written if tomllib.loads(f"x = {written}") == {"x": text} else None
    except tomllib.TOMLDecodeError:
        return None


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A text value, quoted in one of TOML's four ways."""
    text = draw(hostile)
    written = [as_toml(text), literal(text), many_lines(text, "'"), many_lines(text, '"')]
    return draw(st.sampled_from([each for each in written if each is not None]))


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    elements = draw(st.lists(inner, max_size=3))
    return "[" + "".join(f"{draw(gaps)}{each}{draw(gaps)}," for each in elements) + draw(gaps) + "]"


@st.composite
def inline_tables(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(st.sampled_from(["a", "b", "name"]), max_size=2, unique=True))
    return "{" + ",".join(f"{draw(blanks)}{draw(keys(name))} = {draw(inner)} " for name in names) + "}"


@st.composite
def keys(draw: st.DrawFn, name: str) -> str:
    return draw(st.sampled_from([name, f"'{name}'", f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"']))


scalars = texts() | st.sampled_from(["1", "-0.5", "true", "1979-05-27 07:32:00", "nan"])
values = st.recursive(scalars, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=5)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file of a few tables, whose keys are all bare, in quotes or dotted."""
    parts: list[str] = []
    for header in ["", *draw(st.lists(st.sampled_from(["rule", "example"]), max_size=4)), "otherwise"]:
        name = draw(keys(header)) if header else ""
        brackets = ("[", "]") if header == "otherwise" else ("[[", "]]")
        parts.append(f"{brackets[0]}{draw(blanks)}{name}{draw(blanks)}{brackets[1]}\n" if header else "")
        for key in draw(st.lists(st.sampled_from(["name", "when", "x"]), max_size=3, unique=True)):
            tail = draw(st.sampled_from(["", " . y"]))
            parts.append(f"{draw(gaps)}{draw(blanks)}{draw(keys(key))}{tail} = {draw(values)} # '\n")
    return "".join(parts).replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def walk(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(found for key, each in below for found in walk(each, (*path, key)))]


def check(places: Places, path: Path, value: Any) -> None:
    """The text at a value's place is that value, and at a key's place that key or a header that ends with it."""
    assert path in places.keys
    if path in places.values:
        span = places.values[path]
        found = tomllib.loads(f"x = {places.text[span.offset : span.offset + span.length]}")["x"]
        assert repr(found) == repr(value)
    if isinstance(path[-1], str):
        span = places.keys[path]
        written = places.text[span.offset : span.offset + span.length].strip("[]")
        assert written
        assert tomllib.loads(f"{written} = 1") == {path[-1]: 1}


@given(text=files())
def test_every_key_and_value_is_found(text: str) -> None:
    places = locate(text)
    for path, value in walk(tomllib.loads(text))[1:]:
        check(places, path, value)


@given(text=texts(), offset=st.integers(0, 8))
def test_a_place_in_a_text_value_is_that_place_in_the_file(text: str, offset: int) -> None:
    file = f"x = 1\nwhen = {text}\n"
    value = tomllib.loads(file)["when"]
    span = locate(file).inside(("when",), offset, 1)
    if span is None:
        assert "\\" in text
    elif offset < len(value):
        assert file[span.offset] == value[offset]


@given(text=st.text() | st.text(st.sampled_from("a[]{}=,.#'\"\\\n ")))
def test_what_is_no_toml_raises_nothing(text: str) -> None:
    places = locate(text)
    assert places.line(places.last()) >= 1
