"""What crosses: each value comes back equal and of the same type, and the wire is plain JSON."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
import ipaddress
import json
import math
import pathlib
import sys
import threading
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    HttpUrl,
    Json,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    RootModel,
    SecretStr,
    Tag,
    computed_field,
    field_serializer,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from weighbridge.arguments import ArgumentCodec

UTC = dt.UTC
Item = TypeVar("Item")


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    HELLO = "hello"


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: int
    right: str


@dataclasses.dataclass
class Point:
    x: int
    when: dt.date


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: float
    raw: bytes = b""


class Movie(TypedDict):
    name: str
    year: typing.NotRequired[int]


class Line(BaseModel):
    sku: str
    price: Decimal
    at: dt.datetime


class Order(BaseModel):
    id: uuid.UUID
    lines: list[Line]
    by_sku: dict[str, Line] = {}


class Base64Model(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")
    raw: bytes
    ratio: float


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    order_id: int


class SplitAlias(BaseModel):
    name: int = Field(validation_alias=AliasChoices("read", AliasPath("outer", "inner")), serialization_alias="written")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

    @computed_field  # type: ignore[prop-decorator]  # mypy takes no decorators above a property
    @property
    def double(self) -> int:
        return self.a * 2


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Excluded(BaseModel):
    a: int
    cache: int = Field(default=5, exclude=True)


class Private(BaseModel):
    a: int
    _seen: int = PrivateAttr(default=0)


class Revealing(BaseModel):
    password: SecretStr

    @field_serializer("password")
    def reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Page(BaseModel, Generic[Item]):
    items: list[Item]


class Cat(BaseModel):
    kind: Literal["cat"] = Field(default="cat", alias="petKind")
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = Field(default="dog", alias="petKind")
    lives: int = 1


class Created(BaseModel):
    name: str | None = None


class Renamed(BaseModel):
    name: str | None = None
    old_name: str | None = None


@dataclasses.dataclass
class Totalled:
    a: int
    total: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.total = 2 * self.a


@dataclasses.dataclass
class Caching:
    a: int

    @functools.cached_property
    def double(self) -> int:
        return 2 * self.a


class CachingModel(BaseModel):
    a: int

    @functools.cached_property
    def double(self) -> int:
        return 2 * self.a


def cached(value: Any) -> Any:
    """The same, once its cached property was read."""
    assert value.double == 2 * value.a
    return value


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def _pet_kind(value: Any) -> str:
    return str(value.get("petKind", "?") if isinstance(value, dict) else value.kind)


def codec_for(annotation: Any) -> ArgumentCodec:
    def takes(value: Any) -> None: ...

    takes.__annotations__["value"] = annotation
    return ArgumentCodec(takes, task="app.takes")


def crossed(annotation: Any, value: Any) -> Any:
    """The value as it arrives, after the JSON text that any broker would carry."""
    codec = codec_for(annotation)
    args, kwargs = codec.encode((value,), {})
    args, kwargs = json.loads(json.dumps([args, kwargs], allow_nan=False))
    (arrived,), rest = codec.decode(args, kwargs)
    assert rest == {}
    return arrived


NOW = dt.datetime.fromisoformat("2026-07-01T12:30:15.123456")
SOME_ID = uuid.UUID("6f0e8a2c-5f55-4a6c-9a39-3c1d0f3f6f11")
LINE = Line(sku="a", price=Decimal("1.10"), at=NOW.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        pytest.param(int, 5, id="int"),
        pytest.param(int, 2**80, id="an int of more than 64 bits"),
        pytest.param(int, -(2**63) - 1, id="a negative int of more than 64 bits"),
        pytest.param(bool, True, id="bool"),
        pytest.param(str, 'a "quoted" \x00 \u2028 \U0001f600 text', id="str"),
        pytest.param(float, 0.1, id="float"),
        pytest.param(float, -0.0, id="negative zero"),
        pytest.param(float, 1e300, id="a large float"),
        pytest.param(float, 5e-324, id="the smallest float"),
        pytest.param(float, math.inf, id="infinity where a float is declared"),
        pytest.param(list[float], [-math.inf, 1.0], id="infinity in a list of floats"),
        pytest.param(complex, 1 + 2j, id="complex"),
        pytest.param(bytes, b"\xff\x00", id="bytes that are no text"),
        pytest.param(set[bytes], {b"\xff"}, id="bytes in a set"),
        pytest.param(None, None, id="None"),
        pytest.param(int | None, None, id="an optional that is None"),
        pytest.param(uuid.UUID, SOME_ID, id="UUID"),
        pytest.param(Decimal, Decimal("1.10"), id="Decimal with a trailing zero"),
        pytest.param(Decimal, Decimal("1E+3"), id="Decimal with an exponent"),
        pytest.param(dt.datetime, NOW, id="naive datetime"),
        pytest.param(dt.datetime, NOW.replace(tzinfo=UTC), id="datetime in UTC"),
        pytest.param(dt.datetime, NOW.replace(tzinfo=dt.timezone(dt.timedelta(hours=-3.5))), id="fixed offset"),
        pytest.param(dt.datetime, NOW.replace(tzinfo=zoneinfo.ZoneInfo("UTC")), id="a zone that never changes"),
        pytest.param(dt.date, dt.date(2026, 7, 1), id="date"),
        pytest.param(dt.time, dt.time(12, 30, 0, 1), id="time"),
        pytest.param(dt.time, dt.time(12, tzinfo=UTC), id="time with an offset"),
        pytest.param(dt.timedelta, dt.timedelta(days=-1, microseconds=3), id="negative timedelta"),
        pytest.param(dt.timedelta, dt.timedelta.max, id="the longest timedelta"),
        pytest.param(zoneinfo.ZoneInfo, zoneinfo.ZoneInfo("Europe/Berlin"), id="a time zone by its name"),
        pytest.param(pathlib.Path, pathlib.Path("a/b.txt"), id="Path"),
        pytest.param(ipaddress.IPv4Network, ipaddress.IPv4Network("10.0.0.0/8"), id="IPv4Network"),
        pytest.param(HttpUrl, HttpUrl("https://example.org/a?b=c"), id="HttpUrl"),
        pytest.param(Colour, Colour.TWO, id="an enum of mixed values"),
        pytest.param(Level, Level.LOW, id="IntEnum"),
        pytest.param(Word, Word.HELLO, id="StrEnum"),
        pytest.param(Mode, Mode.READ | Mode.WRITE, id="combined flags"),
        pytest.param(Literal["a", 1], 1, id="Literal"),
        pytest.param(list[uuid.UUID], [SOME_ID], id="list"),
        pytest.param(tuple[int, str], (1, "a"), id="tuple"),
        pytest.param(tuple[int, ...], (1, 2, 3), id="tuple of any length"),
        pytest.param(Sequence[int], [1, 2], id="Sequence, as a list"),
        pytest.param(Mapping[str, int], {"a": 1}, id="Mapping, as a dict"),
        pytest.param(set[int], {1, 2}, id="set"),
        pytest.param(frozenset[str], frozenset({"a"}), id="frozenset"),
        pytest.param(collections.deque[int], collections.deque([1]), id="deque"),
        pytest.param(collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2), id="OrderedDict"),
        pytest.param(typing.Counter[str], collections.Counter("aab"), id="Counter"),
        pytest.param(dict[int, str], {1: "a"}, id="int keys"),
        pytest.param(dict[uuid.UUID, int], {SOME_ID: 1}, id="UUID keys"),
        pytest.param(dict[dt.date, int], {dt.date(2026, 1, 1): 1}, id="date keys"),
        pytest.param(dict[bool, str], {True: "yes"}, id="bool keys"),
        pytest.param(dict[Colour, int], {Colour.RED: 1}, id="enum keys"),
        pytest.param(Pair, Pair(1, "a"), id="NamedTuple"),
        pytest.param(Point, Point(1, dt.date(2026, 1, 1)), id="dataclass"),
        pytest.param(set[Frozen], {Frozen(math.inf, b"\xff")}, id="frozen dataclasses with bytes, in a set"),
        pytest.param(Totalled, Totalled(1), id="a dataclass with a field that it computes"),
        pytest.param(Caching, cached(Caching(1)), id="a dataclass with a cached property"),
        pytest.param(CachingModel, cached(CachingModel(a=1)), id="a model with a cached property"),
        pytest.param(Movie, {"name": "Alien"}, id="TypedDict"),
        pytest.param(Movie, {"year": 1979, "name": "Alien"}, id="TypedDict in another order"),
        pytest.param(Order, Order(id=SOME_ID, lines=[LINE], by_sku={"a": LINE}), id="nested models"),
        pytest.param(Base64Model, Base64Model(raw=b"\xff", ratio=math.inf), id="bytes in a model set to base64"),
        pytest.param(Camel, Camel(orderId=1), id="a model with aliases"),
        pytest.param(SplitAlias, SplitAlias(read=1), id="an alias to read and another to write"),
        pytest.param(Computed, Computed(a=1), id="a computed field where extras are forbidden"),
        pytest.param(Extra, Extra.model_validate({"a": 1, "more": [1, 2]}), id="allowed extras"),
        pytest.param(Excluded, Excluded(a=1), id="an excluded field at its default"),
        pytest.param(Private, Private(a=1), id="a private attribute at its default"),
        pytest.param(Revealing, Revealing(password=SecretStr("hunter2")), id="a secret that its model writes out"),
        pytest.param(Node, Node(name="a", children=[Node(name="b")]), id="a model that holds its own kind"),
        pytest.param(Page[int], Page[int](items=[1]), id="a generic model"),
        pytest.param(RootModel[list[int]], RootModel[list[int]]([1]), id="RootModel"),
        pytest.param(Json[list[int]], [1, 2], id="JSON inside of JSON"),
        pytest.param(JsonValue, {"a": [1, None, "b"]}, id="JsonValue"),
        pytest.param(int | str, "1", id="a union, by its str"),
        pytest.param(int | str, 1, id="a union, by its int"),
        pytest.param(uuid.UUID | str, "not an id", id="UUID or str, by a str"),
        pytest.param(uuid.UUID | str, SOME_ID, id="UUID or str, by a UUID"),
        pytest.param(Annotated[Cat | Dog, Field(discriminator="kind")], Dog(), id="a discriminated union of defaults"),
        pytest.param(Created | Renamed, Renamed(), id="a union told apart by unset fields"),
        pytest.param(
            Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(_pet_kind)],
            Dog(),
            id="a union told apart by an alias",
        ),
        pytest.param(Any, {"a": [1, 2.5, True, None, "b"]}, id="plain JSON as Any"),
        pytest.param(object, [1, "a"], id="plain JSON as object"),
        pytest.param(dict, {"a": {"b": []}}, id="a bare dict of plain JSON"),
        pytest.param(list[Any], [1, "a", None], id="a list of Any"),
    ],
)
def test_a_value_arrives_equal_and_of_the_same_type(annotation: Any, value: Any) -> None:
    arrived = crossed(annotation, value)

    assert arrived == value
    assert type(arrived) is type(value)


def test_nan_arrives_as_nan_where_a_float_is_declared() -> None:
    assert math.isnan(crossed(float, math.nan))
    assert math.isnan(crossed(float | None, math.nan))


def test_an_int_passed_for_a_float_arrives_as_the_same_float() -> None:
    arrived = crossed(float, 5)

    assert arrived == 5
    assert type(arrived) is float


def test_a_class_with_a_validator_and_a_serializer_of_its_own_crosses() -> None:
    money = Annotated[Money, PlainValidator(Money), PlainSerializer(lambda value: value.cents)]

    assert crossed(money, Money(5)).cents == 5


def test_a_secret_with_a_serializer_of_its_own_crosses() -> None:
    shown = Annotated[SecretStr, PlainSerializer(lambda value: value.get_secret_value())]

    assert crossed(shown, SecretStr("hunter2")) == SecretStr("hunter2")


def test_the_wire_is_readable_to_any_tool() -> None:
    def render(report_id: uuid.UUID, line: Line, *, ratio: float) -> None: ...

    args, kwargs = ArgumentCodec(render, task="app.render").encode((SOME_ID, LINE), {"ratio": math.inf})

    assert json.loads(json.dumps([args, kwargs], allow_nan=False)) == [
        [
            "6f0e8a2c-5f55-4a6c-9a39-3c1d0f3f6f11",
            {"sku": "a", "price": "1.10", "at": "2026-07-01T12:30:15.123456Z"},
        ],
        {"ratio": "Infinity"},
    ]


# -- fields that nobody set ---------------------------------------------------------------------------------


class Change(BaseModel):
    name: str | None = None
    note: str | None = None
    tags: list[str] = []
    labels: list[str] = Field(default_factory=list)
    changed_at: dt.datetime = Field(default_factory=lambda: dt.datetime.now(UTC))


def test_fields_that_were_not_set_are_not_set_in_the_worker_either() -> None:
    arrived = crossed(Change, Change(name="new", changed_at=NOW))

    assert arrived.model_dump(exclude_unset=True) == {"name": "new", "changed_at": NOW}


def test_a_field_set_to_its_default_counts_as_set() -> None:
    arrived = crossed(list[Change], [Change(note=None, changed_at=NOW)])

    assert arrived[0].model_fields_set == {"note", "changed_at"}


def test_a_default_that_differs_each_time_arrives_as_it_was() -> None:
    change = Change(name="new")

    assert crossed(Change, change).changed_at == change.changed_at


def test_a_default_that_was_changed_in_place_arrives_changed() -> None:
    change = Change(changed_at=NOW)
    change.tags.append("a")
    change.labels.append("b")

    arrived = crossed(dict[str, Change], {"x": change})["x"]

    assert (arrived.tags, arrived.labels) == (["a"], ["b"])


# -- signatures ---------------------------------------------------------------------------------------------


def test_the_call_keeps_its_shape() -> None:
    def takes(a: int, /, b: uuid.UUID, *rest: dt.date, c: set[int], **others: Decimal) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")
    args = (1, SOME_ID, dt.date(2026, 1, 1))
    kwargs: dict[str, Any] = {"c": {1}, "a": Decimal("1.0"), "z": Decimal(2)}

    wire = codec.encode(args, kwargs)

    assert wire == ([1, str(SOME_ID), "2026-01-01"], {"c": [1], "a": "1.0", "z": "2"})
    assert codec.decode(*wire) == (args, kwargs)


def test_what_was_passed_by_keyword_stays_a_keyword() -> None:
    def takes(a: int, b: int) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.encode((), {"b": 2, "a": 1}) == ([], {"b": 2, "a": 1})


def test_defaults_are_not_on_the_wire() -> None:
    def takes(a: int, b: object = object(), *, c: int = 3) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.encode((1,), {}) == ([1], {})
    assert codec.decode([1], {}) == ((1,), {})


def test_a_call_without_arguments_crosses() -> None:
    def takes() -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.encode((), {}) == ([], {})
    assert codec.decode([], {}) == ((), {})


def test_parameters_may_be_named_like_anything() -> None:
    def takes(self: int, cls: int, model_config: int, values: int, __all__: int) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.decode(*codec.encode((1, 2, 3, 4, 5), {})) == ((1, 2, 3, 4, 5), {})


def test_an_alias_on_a_parameter_does_not_rename_it() -> None:
    def takes(value: Annotated[int, Field(validation_alias="read", serialization_alias="written")]) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.encode((), {"value": 1}) == ([], {"value": 1})
    assert codec.decode([], {"value": 1}) == ((), {"value": 1})


def test_unpacked_types_describe_the_rest() -> None:
    def takes(*rest: *tuple[int, uuid.UUID], **movie: typing.Unpack[Movie]) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")
    args, kwargs = (1, SOME_ID), {"name": "Alien", "year": 1979}

    assert codec.decode(*codec.encode(args, kwargs)) == (args, kwargs)


def test_types_of_the_surrounding_function_are_known() -> None:
    class Local(BaseModel):
        a: int

    def takes(value: Local, others: list[Local]) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")
    args = (Local(a=1), [Local(a=2)])

    assert codec.decode(*codec.encode(args, {})) == (args, {})


#: As text, for its grammar is younger than the oldest Python that runs these tests.
GENERIC = """
from __future__ import annotations
type Ids[K] = dict[K, list[int]]
type Tree = int | list[Tree]
def around():
    class Local(BaseModel):
        a: int
    class Box[T](BaseModel):
        item: T
    def takes[T: int](ids: Ids[str], local: Local, tree: Tree, box: Box[int]) -> None: ...
    return ArgumentCodec(takes, task="app.takes"), ({"a": [1]}, Local(a=1), [1, [2]], Box[int](item=3))
"""

if sys.version_info >= (3, 12):

    def test_type_parameters_and_aliases_are_known() -> None:
        namespace: dict[str, Any] = {"BaseModel": BaseModel, "ArgumentCodec": ArgumentCodec, "__name__": "app"}
        exec(GENERIC, namespace)
        codec, args = namespace["around"]()

        assert codec.decode(*codec.encode(args, {})) == (args, {})


def test_a_return_annotation_is_not_looked_at() -> None:
    def takes(value: int) -> "Nowhere": ...  # type: ignore[name-defined]  # noqa: F821, UP037  # that is the point

    assert ArgumentCodec(takes, task="app.takes").obstacle(final=True) is None


def test_a_wrapped_function_is_read_by_its_inner_signature() -> None:
    def logged(func: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            func(*args, **kwargs)

        return wrapper

    @logged
    def takes(value: uuid.UUID) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.decode(*codec.encode((SOME_ID,), {})) == ((SOME_ID,), {})


def test_what_is_defined_later_is_found_when_it_is_there() -> None:
    namespace: dict[str, Any] = {}
    exec("from __future__ import annotations\ndef takes(value: Later) -> None: ...", namespace)
    codec = ArgumentCodec(namespace["takes"], task="app.takes")

    assert codec.obstacle() is None
    namespace["Later"] = uuid.UUID

    assert codec.decode(*codec.encode((SOME_ID,), {})) == ((SOME_ID,), {})


def test_threads_that_come_at_once_all_get_the_same() -> None:
    codec = codec_for(Order)
    order = Order(id=SOME_ID, lines=[LINE])
    arrived: list[Any] = []
    start = threading.Barrier(8)

    def one() -> None:
        start.wait()
        arrived.append(codec.decode(*codec.encode((order,), {}))[0][0])

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert arrived == [order] * 8
