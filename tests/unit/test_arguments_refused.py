"""What does not survive the way is refused in the request, by name and place, and without its value."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import math
import threading
import uuid
import zoneinfo
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from annotated_types import Gt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    field_serializer,
    field_validator,
)
from typing_extensions import TypedDict

from weighbridge.arguments import ArgumentCodec
from weighbridge.errors import ArgumentError

Item = TypeVar("Item")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Markup(str):
    __slots__ = ()


class Base(BaseModel):
    a: int = 1


class Derived(Base):
    b: int = 2


class Nested(BaseModel):
    raw: bytes = b""
    ratio: float = 0.0
    names: dict[str, list[Base]] = {}


class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    ratio: float


class Login(BaseModel):
    password: SecretStr


class Excluded(BaseModel):
    a: int
    cache: int = Field(default=5, exclude=True)


class Private(BaseModel):
    a: int
    _seen: int = PrivateAttr(default=0)


class Locked(BaseModel):
    _lock: Any = PrivateAttr(default_factory=threading.Lock)


class Page(BaseModel, Generic[Item]):
    items: list[Item]


class Movie(TypedDict):
    name: str


class Pair(NamedTuple):
    left: int


class WiderPair(Pair):
    pass


@dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class Point3(Point):
    z: int = 0


@dataclasses.dataclass
class Counted:
    x: int
    seen: dataclasses.InitVar[int]

    def __post_init__(self, seen: int) -> None:
        self.total = self.x + seen


class FailingSerializer(BaseModel):
    a: str

    @field_serializer("a")
    def fail(self, value: str) -> str:
        raise KeyError(value)


class FailingValidator(BaseModel):
    a: str

    @field_validator("a")
    @classmethod
    def fail(cls, value: str) -> str:
        if value == "hunter2":
            raise KeyError(value)
        return value


class RefusingValidator(BaseModel):
    a: str

    @field_validator("a")
    @classmethod
    def refuse(cls, value: str) -> str:
        if value == "hunter2":
            raise ValueError(f"{value} is refused")
        return value


class Node(BaseModel):
    children: list[Node] = []


class Liar:
    """Equal to everything, and written without its note."""

    def __init__(self, number: int, note: str = "") -> None:
        self.number = number
        self.note = note

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Raiser(Liar):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("hunter2")

    __hash__ = Liar.__hash__


class Elementwise(Liar):
    def __eq__(self, other: object) -> Any:
        return [True]

    __hash__ = Liar.__hash__


class Nameless(str):
    """Text that is equal to all other text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def written_as_number(cls: type[Liar]) -> Any:
    return Annotated[cls, PlainValidator(cls), PlainSerializer(lambda value: value.number)]


def refusal(annotation: Any, value: Any) -> ArgumentError:
    def takes(secret: Any) -> None: ...

    takes.__annotations__["secret"] = annotation
    with pytest.raises(ArgumentError) as caught:
        ArgumentCodec(takes, task="app.takes").encode((value,), {})
    error = caught.value
    assert error.argument == "secret"
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "hunter2" not in str(error)
    return error


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def looped() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def looped_model() -> Node:
    node = Node()
    node.children.append(node)
    return node


def unvalidated(a: Any) -> Base:
    return Base.model_construct(a=a)


def private(seen: int) -> Private:
    value = Private(a=1)
    value._seen = seen
    return value


def with_attribute() -> Point:
    point = Point(1)
    point.note = "hunter2"  # type: ignore[attr-defined]  # that is the point
    return point


MIDNIGHT = dt.datetime.fromisoformat("2026-10-25")
AMBIGUOUS = dt.datetime.fromisoformat("2026-10-25T02:30")


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        pytest.param(int, "5", "secret: str → int; pass an int", id="digits for an int"),
        pytest.param(int, True, "secret: bool → int", id="bool for int"),
        pytest.param(int, 5.0, "secret: float → int", id="float for int"),
        pytest.param(int, Level.LOW, "secret: Level → int", id="IntEnum for int"),
        pytest.param(float, True, "secret: bool → float", id="bool for float"),
        pytest.param(float, 2**53 + 1, "secret: int → float", id="an int that no float holds"),
        pytest.param(str, 5, "is an int that does not validate: input should be a valid string", id="int for str"),
        pytest.param(str, Markup("hunter2"), "secret: Markup → str", id="a subclass of str"),
        pytest.param(str, b"hunter2", "secret: bytes → str", id="bytes for str"),
        pytest.param(uuid.UUID, "6f0e8a2c-5f55-4a6c-9a39-3c1d0f3f6f11", "secret: str → UUID", id="str for UUID"),
        pytest.param(
            uuid.UUID | str, "6f0e8a2c-5f55-4a6c-9a39-3c1d0f3f6f11", "secret: str → UUID", id="a str like a UUID"
        ),
        pytest.param(int | float, Decimal(1), "secret: Decimal → int", id="Decimal for a number"),
        pytest.param(dt.date, MIDNIGHT, "secret: datetime → date", id="datetime"),
        pytest.param(dt.datetime, dt.date(2026, 1, 1), "secret: date → datetime", id="date"),
        pytest.param(dt.datetime, 5, "secret: int → datetime", id="a number for a datetime"),
        pytest.param(Colour, "red", "secret: str → Colour", id="the value of an enum"),
        pytest.param(Literal[1], True, "secret: bool → int", id="True for a literal 1"),
        pytest.param(int, None, "is a NoneType that does not validate", id="None"),
        pytest.param(Base, Derived(), "secret: Derived → Base", id="a subclass of a model"),
        pytest.param(list[Base], [Base(), Derived()], "secret[1]: Derived → Base", id="a subclass in a list"),
        pytest.param(Base, {"a": 1}, "secret: dict → Base", id="a dict for a model"),
        pytest.param(Point, Point3(1), "secret: Point3 → Point", id="a subclass of a dataclass"),
        pytest.param(Pair, WiderPair(1), "secret: WiderPair → Pair", id="a subclass of a tuple"),
        pytest.param(Page[int], Page(items=[1]), "secret: Page → Page[int]", id="a bare generic"),
        pytest.param(list[int], (1,), "secret: tuple → list", id="tuple for list"),
        pytest.param(Sequence[int], (1,), "secret: tuple → list", id="tuple for Sequence"),
        pytest.param(
            dict[int, str], {"1": "a"}, "secret.keys(): str → int; declare the type", id="str keys for int keys"
        ),
        pytest.param(dict[bool, str], {1: "a"}, "secret.keys(): int → bool", id="int keys for bool keys"),
        pytest.param(
            Movie, {"name": "a", "year": 1}, "\"secret['year']\" is not declared by its type", id="TypedDict extra"
        ),
        pytest.param(Movie, {}, "\"secret['name']\" does not validate: field required", id="TypedDict without a key"),
        pytest.param(
            collections.deque[int], collections.deque([1], maxlen=3), "deque with a maxlen", id="deque with a maxlen"
        ),
        pytest.param(
            collections.defaultdict[str, list[int]],
            collections.defaultdict(lambda: [1]),
            "default_factory",
            id="defaultdict with a factory of its own",
        ),
    ],
)
def test_another_type_is_refused_although_it_could_be_coerced(annotation: Any, value: Any, said: str) -> None:
    assert said in str(refusal(annotation, value))


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        pytest.param(Any, (1,), "secret: tuple → list", id="tuple"),
        pytest.param(Any, {1}, "secret: set → list", id="set"),
        pytest.param(Any, {"a": [AMBIGUOUS]}, "secret['a'][0]: datetime → str", id="datetime"),
        pytest.param(Any, {1: "a"}, "secret.keys(): int → str", id="int keys"),
        pytest.param(Any, Decimal(1), "secret: Decimal → str", id="Decimal"),
        pytest.param(Any, b"hunter2", "secret: bytes → str", id="bytes"),
        pytest.param(Any, Base(), "secret: Base → dict", id="model"),
        pytest.param(Any, Point(1), "secret: Point → dict", id="dataclass"),
        pytest.param(Any, Level.LOW, "secret: Level → int", id="enum"),
        pytest.param(Any, math.nan, "is NaN or infinite", id="NaN"),
        pytest.param(object, (1,), "secret: tuple → list", id="tuple as object"),
        pytest.param(list, [(1,)], "secret[0]: tuple → list", id="tuple in a bare list"),
        pytest.param(dict[str, Any], {"hunter2@x": (1,)}, "secret[…]: tuple → list", id="below a key that may be data"),
        pytest.param(Any, threading.Lock(), "is a lock, which cannot be written as JSON", id="lock"),
        pytest.param(Any, [1, {"f": print}], "\"secret[1]['f']\" is a builtin_function_or_method", id="function"),
    ],
)
def test_without_a_type_only_plain_json_is_taken(annotation: Any, value: Any, said: str) -> None:
    assert said in str(refusal(annotation, value))


def test_an_unannotated_parameter_takes_only_plain_json() -> None:
    def takes(value): ...  # type: ignore[no-untyped-def]  # that is the point

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.encode(([1],), {}) == ([[1]], {})
    with pytest.raises(ArgumentError, match="annotate it with the type that is passed"):
        codec.encode(((1,),), {})


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        pytest.param(
            Nested, Nested(ratio=math.nan), "'secret.ratio' is NaN or infinite, which JSON cannot say", id="NaN"
        ),
        pytest.param(Nested, Nested(raw=b"\xff"), "'secret.raw' is bytes that are no UTF-8 text", id="bytes"),
        pytest.param(
            list[Constants], [Constants(ratio=math.inf)], "'secret[0].ratio' is NaN or infinite", id="constants"
        ),
        pytest.param(float | str, math.nan, "is NaN or infinite", id="NaN where a str is possible"),
        pytest.param(Decimal, Decimal("NaN"), "input should be a finite number", id="NaN as a Decimal"),
        pytest.param(Decimal, Decimal("sNaN"), "is a Decimal that does not validate", id="signalling NaN"),
        pytest.param(Login, Login(password=SecretStr("hunter2")), "'secret.password' is a SecretStr", id="secret"),
        pytest.param(Excluded, Excluded(a=1, cache=6), "'secret.cache' has exclude=True", id="excluded field"),
        pytest.param(Private, private(3), "'secret._seen' would arrive changed", id="private attribute"),
        pytest.param(Locked, Locked(), "'secret._lock' is a lock", id="private lock"),
        pytest.param(Point, with_attribute(), "'secret.note' would not arrive", id="an attribute beside the fields"),
        pytest.param(Counted, Counted(1, 2), "does not validate", id="a field only for __init__"),
        pytest.param(str, "\ud800", "is text with a lone surrogate", id="surrogate"),
        pytest.param(list[str], ["a", "\ud800"], "'secret[1]' is text with a lone surrogate", id="surrogate in a list"),
        pytest.param(int, 10**5000, "holds a number that is too long", id="a number of 5000 digits"),
        pytest.param(dt.datetime, AMBIGUOUS.replace(fold=1), "by its fold which of two equal hours", id="fold"),
        pytest.param(
            dt.datetime,
            AMBIGUOUS.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
            "has a ZoneInfo as its time zone",
            id="a zone that changes its offset",
        ),
        pytest.param(
            dt.datetime,
            dt.datetime(1900, 1, 1, tzinfo=dt.timezone(dt.timedelta(minutes=53, seconds=28))),
            "would arrive changed",
            id="an offset with seconds",
        ),
        pytest.param(Annotated[int, Gt(0)], -1, "does not validate: input should be greater than 0", id="constraint"),
        pytest.param(
            Annotated[str, StringConstraints(strip_whitespace=True)], "hunter2 ", "arrive changed", id="strip"
        ),
        pytest.param(Annotated[str, AfterValidator(str.upper)], "hunter2", "would arrive changed", id="a validator"),
        pytest.param(
            Base,
            unvalidated("hunter2"),
            "'secret.a' is a str that does not validate",
            id="an unvalidated model",
        ),
        pytest.param(Base, unvalidated("5"), "secret.a: str → int", id="coercible"),
        pytest.param(
            FailingSerializer, FailingSerializer(a="hunter2"), "that its own serializer does not write", id="serializer"
        ),
        pytest.param(
            FailingValidator,
            FailingValidator.model_construct(a="hunter2"),
            "its validator raised KeyError",
            id="a validator that raises",
        ),
        pytest.param(
            RefusingValidator,
            RefusingValidator.model_construct(a="hunter2"),
            "'secret.a' is a str that does not validate: it is refused as value_error",
            id="a validator that quotes the value",
        ),
        pytest.param(Any, nested(190 + 20), "nested too deeply", id="deeper than JSON goes"),
        pytest.param(Any, nested(100_000), "nested too deeply", id="very deep"),
        pytest.param(Any, looped(), "holds itself", id="a list that holds itself"),
        pytest.param(Node, looped_model(), "holds itself", id="a model that holds itself"),
        pytest.param(
            written_as_number(Liar),
            Liar(1, "hunter2"),
            "'secret.note' would arrive changed",
            id="== that says yes to all",
        ),
        pytest.param(written_as_number(Raiser), Raiser(1), "raises RuntimeError when it is compared", id="== raises"),
        pytest.param(written_as_number(Elementwise), Elementwise(1), "answers == with a list", id="== gives a list"),
        pytest.param(
            Annotated[Nameless, PlainValidator(lambda text: Nameless(text.upper())), PlainSerializer(str)],
            Nameless("hunter2"),
            "would arrive changed",
            id="text with an == that says yes to all",
        ),
    ],
)
def test_what_would_be_lost_on_the_way_is_refused(annotation: Any, value: Any, said: str) -> None:
    assert said in str(refusal(annotation, value))


def test_a_coercing_validator_does_not_hide_another_type() -> None:
    lax = Annotated[int, BeforeValidator(int)]

    assert "secret: str → int" in str(refusal(lax, "5"))


def test_an_error_names_the_task_the_argument_and_what_to_do() -> None:
    assert str(refusal(int, "hunter2")) == (
        "task 'app.takes' cannot be queued: argument 'secret' is a str that does not validate: input should be a "
        "valid integer, unable to parse string as an integer; pass what its annotation describes"
    )


def test_nothing_of_the_value_is_kept_in_the_error() -> None:
    error = refusal(list[int], [1, "hunter2"])

    assert "hunter2" not in repr(vars(error))


def test_the_right_one_of_several_arguments_is_named() -> None:
    def takes(a: int, *rest: int, b: Base, **others: str) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    def named(*args: Any, **kwargs: Any) -> str:
        with pytest.raises(ArgumentError) as caught:
            codec.encode(args, kwargs)
        return caught.value.argument

    assert named("1", b=Base()) == "a"
    assert named(1, 2, "3", b=Base()) == "rest"
    assert named(1, b=Derived()) == "b"
    assert named(1, b=Base(), c=5) == "others"


@pytest.mark.parametrize(
    ("args", "kwargs", "argument", "said"),
    [
        ((), {"b": 1}, "a", "is missing, and it has no default"),
        ((1,), {}, "b", "is missing, and it has no default"),
        ((1, 2, 3), {"b": 1}, "#3", "is one too many: the task takes 2 by position, not 3"),
        ((1,), {"b": 1, "d": 1}, "d", "is no parameter of the task"),
        ((1, 2), {"b": 1, "c": 2}, "c", "is given twice"),
        ((), {"a": 1, "b": 1}, "a", "by position only"),
    ],
)
def test_a_call_that_does_not_fit_the_signature_is_refused(
    args: tuple[int, ...], kwargs: dict[str, int], argument: str, said: str
) -> None:
    def takes(a: int, /, c: int = 0, *, b: int) -> None: ...

    with pytest.raises(ArgumentError) as caught:
        ArgumentCodec(takes, task="app.takes").encode(args, kwargs)

    assert caught.value.argument == argument
    assert said in str(caught.value)


def test_no_warning_of_the_serializer_leaks(recwarn: pytest.WarningsRecorder) -> None:
    refusal(list[int], ["hunter2"])
    refusal(Base, Derived())

    assert list(recwarn) == []


def test_the_value_is_left_as_it_was() -> None:
    value = Nested(names={"a": [Base()]})
    before = value.model_copy(deep=True)

    def takes(value: Nested) -> None: ...

    ArgumentCodec(takes, task="app.takes").encode((value,), {})

    assert value == before
    assert value.model_fields_set == before.model_fields_set
