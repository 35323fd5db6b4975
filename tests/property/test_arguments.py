"""Whatever the codec accepts arrives equal and of the same types; whatever it does not, it refuses by name."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import json
import pathlib
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple, Union

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from weighbridge.arguments import ArgumentCodec
from weighbridge.errors import ArgumentError, PayloadError


class Colour(enum.Enum):
    RED = "red"
    ONE = 1


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    left: int
    right: str | None


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    when: dt.date
    raw: bytes = b""


class Movie(TypedDict):
    name: str
    year: int


class Line(BaseModel):
    sku: str
    price: Decimal
    note: str | None = None
    tags: list[str] = Field(default_factory=list)


class Order(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: uuid.UUID = Field(default_factory=uuid.uuid4)
    lines: list[Line] = []
    paid_at: dt.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Typed:
    """An annotation, and values that it describes."""

    annotation: Any
    values: st.SearchStrategy[Any]


FIXED_ZONES = st.builds(dt.timezone, st.integers(-1439, 1439).map(lambda minutes: dt.timedelta(minutes=minutes)))
MOMENTS = st.datetimes(timezones=st.none() | FIXED_ZONES, allow_imaginary=True).map(lambda each: each.replace(fold=0))
TEXT = st.text()
LINES = st.builds(Line, sku=TEXT, price=st.decimals(allow_nan=False, allow_infinity=False)) | st.builds(
    Line,
    sku=TEXT,
    price=st.decimals(allow_nan=False, allow_infinity=False),
    note=st.none() | TEXT,
    tags=st.lists(TEXT, max_size=2),
)
NOTHING = Typed(None, st.none())
SCALARS = [
    Typed(int, st.integers()),
    Typed(bool, st.booleans()),
    Typed(float, st.floats()),
    Typed(str, TEXT),
    Typed(bytes, st.binary()),
    NOTHING,
    Typed(uuid.UUID, st.uuids()),
    Typed(Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    Typed(dt.date, st.dates()),
    Typed(dt.datetime, MOMENTS),
    Typed(dt.time, st.times().map(lambda each: each.replace(fold=0))),
    Typed(dt.timedelta, st.timedeltas()),
    Typed(Colour, st.sampled_from(Colour)),
    Typed(Level, st.sampled_from(Level)),
    Typed(pathlib.Path, st.sampled_from([pathlib.Path("a/b"), pathlib.Path("/c")])),
]
OBJECTS = [
    Typed(Pair, st.builds(Pair, st.integers(), st.none() | TEXT)),
    Typed(Point, st.builds(Point, st.floats(), st.dates(), st.binary())),
    Typed(Movie, st.fixed_dictionaries({"name": TEXT, "year": st.integers()})),
    Typed(Line, LINES),
    Typed(Order, st.builds(Order, lines=st.lists(LINES, max_size=2)) | st.builds(Order, paid_at=st.none() | MOMENTS)),
]
KEYS = st.sampled_from([Typed(str, TEXT), Typed(int, st.integers()), Typed(uuid.UUID, st.uuids()), SCALARS[8]])
ELEMENTS = st.sampled_from([each for each in SCALARS if each.annotation is not float])


def of(generic: Any, *parts: Typed) -> Any:
    """``generic[…]`` of what is known at run time only."""
    return generic[tuple(part.annotation for part in parts)]


def containers_of(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return st.one_of(
        inner.map(lambda item: Typed(of(list, item), st.lists(item.values, max_size=3))),
        inner.map(lambda item: Typed(of(Union, item, NOTHING), st.none() | item.values)),
        st.tuples(inner, inner).map(lambda both: Typed(of(tuple, *both), st.tuples(both[0].values, both[1].values))),
        st.tuples(KEYS, inner).map(
            lambda both: Typed(of(dict, *both), st.dictionaries(both[0].values, both[1].values, max_size=3))
        ),
        ELEMENTS.map(lambda item: Typed(of(set, item), st.sets(item.values, max_size=3))),
    )


TYPED = st.recursive(st.sampled_from(SCALARS + OBJECTS), containers_of, max_leaves=3)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ODD: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        PLAIN,
        st.floats(),
        st.binary(),
        st.text(st.characters(categories=["Cs", "L"])),
        st.decimals(),
        st.datetimes(timezones=st.none() | st.timezones()),
        st.complex_numbers(),
        LINES,
        st.sampled_from([Colour.RED, Level.LOW, object(), print, Pair(1, None), int, ...]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(st.integers() | TEXT | st.booleans(), inner, max_size=3),
    ),
    max_leaves=5,
)


def codec_for(annotation: Any) -> ArgumentCodec:
    def takes(value: Any) -> None: ...

    takes.__annotations__["value"] = annotation
    return ArgumentCodec(takes, task="app.takes")


def twins(one: Any, other: Any) -> bool:
    """An equality of the tests' own, so that the codec is not its own judge."""
    if type(one) is not type(other):
        return type(one) is int and type(other) is float and one == other
    match one:
        case BaseModel():
            same = twins(dict(one), dict(other)) and one.model_fields_set <= other.model_fields_set
        case dict():
            keys = {key: key for key in other}
            same = one.keys() == other.keys() and all(
                type(key) is type(keys[key]) and twins(value, other[key]) for key, value in one.items()
            )
        case list() | tuple():
            same = len(one) == len(other) and all(map(twins, one, other))
        case set() | frozenset():
            same = twins(sorted(one, key=repr), sorted(other, key=repr))
        case Point():
            same = twins(vars(one), vars(other))
        case dt.datetime():
            same = one == other and one.utcoffset() == other.utcoffset() and one.fold == other.fold
        case _:
            same = repr(one) == repr(other)
    return same


def through_a_broker(wire: tuple[list[Any], dict[str, Any]]) -> Any:
    return json.loads(json.dumps(wire, allow_nan=False))


@given(TYPED.flatmap(lambda typed: st.tuples(st.just(typed.annotation), typed.values)))
def test_values_of_their_types_cross_and_arrive_as_they_were(pair: tuple[Any, Any]) -> None:
    annotation, value = pair
    codec = codec_for(annotation)

    (arrived,), _ = codec.decode(*through_a_broker(codec.encode((value,), {})))

    assert twins(value, arrived)


@given(TYPED, ODD | TYPED.flatmap(lambda typed: typed.values))
def test_a_value_of_any_type_arrives_as_it_was_or_is_refused(typed: Typed, value: Any) -> None:
    codec = codec_for(typed.annotation)

    try:
        wire = codec.encode((value,), {})
    except ArgumentError:
        return
    assert twins(value, codec.decode(*through_a_broker(wire))[0][0])


@given(st.sampled_from([Any, object, dict, list, list[Any], dict[str, Any]]), ODD)
def test_without_a_type_a_value_arrives_as_it_was_or_is_refused(annotation: Any, value: Any) -> None:
    codec = codec_for(annotation)

    try:
        wire = codec.encode((value,), {})
    except ArgumentError:
        return
    assert wire == ([value], {})
    assert twins(value, codec.decode(*through_a_broker(wire))[0][0])


@given(PLAIN)
def test_plain_json_needs_no_type(value: Any) -> None:
    assert codec_for(Any).encode((value,), {}) == ([value], {})


def changed(wire: Any, choose: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """``wire`` with one node of it replaced, dropped or added."""
    if isinstance(wire, list) and wire and choose(st.booleans()):
        index = choose(st.integers(0, len(wire) - 1))
        return [*wire[:index], changed(wire[index], choose), *wire[index + 1 :]]
    if isinstance(wire, dict) and wire and choose(st.booleans()):
        key = choose(st.sampled_from(sorted(wire)))
        rest = {name: value for name, value in wire.items() if name != key}
        return rest if choose(st.booleans()) else {**rest, key: changed(wire[key], choose)}
    return choose(ODD | PLAIN)


@given(TYPED.flatmap(lambda typed: st.tuples(st.just(typed.annotation), typed.values)), st.data())
def test_a_changed_payload_is_read_as_a_valid_value_or_refused(pair: tuple[Any, Any], data: st.DataObject) -> None:
    annotation, value = pair
    codec = codec_for(annotation)
    args, kwargs = through_a_broker(codec.encode((value,), {}))
    args = changed(args, data.draw)

    try:
        read, _ = codec.decode(args if isinstance(args, list) else [args], kwargs)
    except PayloadError:
        return
    try:
        again = codec.encode(read, {})
    except ArgumentError:
        return  # read, as lax JSON is, and still not fit to be sent
    assert twins(read, codec.decode(*through_a_broker(again))[0])


@given(TYPED.flatmap(lambda typed: st.tuples(st.just(typed.annotation), typed.values)))
def test_encoding_changes_nothing(pair: tuple[Any, Any]) -> None:
    annotation, value = pair
    before = copy.deepcopy(value)

    codec_for(annotation).encode((value,), {})

    assert twins(before, value)


SIGNATURES = [
    "a, b=0",
    "a, /, b",
    "a, /, b=0, *, c",
    "*a",
    "a, *b, c=0",
    "**c",
    "a, /, **c",
    "a=0, *b, c, **d",
    "",
]
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])


@given(st.sampled_from(SIGNATURES), st.lists(st.integers(), max_size=4), st.dictionaries(NAMES, st.integers()))
def test_arguments_are_bound_as_python_binds_them(signature: str, args: list[int], kwargs: dict[str, int]) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def takes({signature}): return locals()", namespace)
    takes = namespace["takes"]
    codec = ArgumentCodec(takes, task="app.takes")

    try:
        takes(*args, **kwargs)
    except TypeError:
        fits = False
    else:
        fits = True
    try:
        wire = codec.encode(tuple(args), kwargs)
    except ArgumentError:
        assert not fits
    else:
        assert fits
        assert codec.decode(*wire) == (tuple(args), kwargs)
