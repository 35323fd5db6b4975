"""What can never cross is known from the signature, with what to pass instead."""

from __future__ import annotations

import asyncio
import collections.abc
import dataclasses
import io
import logging
import socket
import threading
import typing
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NewType, Protocol, TypeVar

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response, UploadFile, WebSocket
from pydantic import BaseModel, ConfigDict, Field, FutureDatetime, InstanceOf, SecretStr, field_validator

import weighbridge
from weighbridge.arguments import ArgumentCodec
from weighbridge.errors import ArgumentError, PayloadError

if TYPE_CHECKING:
    from decimal import Decimal

Item = TypeVar("Item")


class Plain:
    pass


class Quacks(Protocol):
    def quack(self) -> None: ...


class Session:
    """Stands for SQLAlchemy's, which is told by its module and name."""


Session.__module__ = "sqlalchemy.orm.session"


class ScopedSession(Session):
    pass


class Row:
    """Stands for a class that SQLAlchemy has mapped."""

    _sa_class_manager = object()


class Table(BaseModel):
    """Stands for an SQLModel table: pydantic takes it, and does not validate it."""

    __mapper__: typing.ClassVar[object] = object()
    id: int


class HoldsSession(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    session: Session | None = None


class HoldsTable(BaseModel):
    rows: list[Table]


class HoldsUpload(BaseModel):
    upload: UploadFile


class Converts(BaseModel):
    """A class that pydantic does not know, made by a validator from what JSON can say."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    plain: Plain | None

    @field_validator("plain", mode="before")
    @classmethod
    def make(cls, value: object) -> Plain:
        return Plain()


class Booking(BaseModel):
    starts_at: FutureDatetime


class Looped(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    others: list[Looped] = []
    session: Session | None = None


@dataclasses.dataclass
class HoldsLock:
    lock: threading.Event


class HttpClient:
    pass


def obstacle(annotation: Any) -> str | None:
    def takes(value: Any) -> None: ...

    takes.__annotations__["value"] = annotation
    return ArgumentCodec(takes, task="app.takes").obstacle()


@pytest.mark.parametrize(
    ("annotation", "named", "instead"),
    [
        pytest.param(Request, "Request, which ends with its request", "pass the values", id="Request"),
        pytest.param(WebSocket, "WebSocket", "pass the values", id="WebSocket"),
        pytest.param(Response, "Response", "pass the values", id="Response"),
        pytest.param(BackgroundTasks, "BackgroundTasks", "pass the values", id="BackgroundTasks"),
        pytest.param(weighbridge.BackgroundTasks, "BackgroundTasks", "pass the values", id="our BackgroundTasks"),
        pytest.param(UploadFile, "UploadFile, which is closed with its request", "its path or key", id="UploadFile"),
        pytest.param(list[UploadFile], "UploadFile", "its path or key", id="several UploadFiles"),
        pytest.param(HoldsUpload, "UploadFile", "its path or key", id="a model with an UploadFile"),
        pytest.param(FastAPI, "FastAPI", "import it inside the task", id="app"),
        pytest.param(Session, "Session, which is open in this process only", "open one inside", id="Session"),
        pytest.param(ScopedSession, "ScopedSession", "open one inside", id="a subclass of Session"),
        pytest.param(Session | None, "Session", "open one inside", id="an optional Session"),
        pytest.param(Annotated[Session, Depends()], "Session", "open one inside", id="a Session by Depends"),
        pytest.param(HoldsSession, "Session", "open one inside", id="a model with a Session"),
        pytest.param(Looped, "Session", "open one inside", id="a model of its own kind with a Session"),
        pytest.param(HttpClient, "HttpClient", "open one inside", id="a class named like a client"),
        pytest.param(Row, "Row, which is bound to its database session", "pass its id", id="mapped class"),
        pytest.param(Table, "Table", "pass its id", id="table"),
        pytest.param(HoldsTable, "Table", "pass its id", id="a model with tables"),
        pytest.param(typing.IO[bytes], "IO", "pass its path", id="IO"),
        pytest.param(io.BytesIO, "BytesIO", "pass its path", id="BytesIO"),
        pytest.param(socket.socket, "socket", "open one inside", id="socket"),
        pytest.param(logging.Logger, "Logger", "get one inside", id="Logger"),
        pytest.param(threading.Event, "Event", "pass the values", id="threading.Event"),
        pytest.param(HoldsLock, "Event", "pass the values", id="a dataclass with an Event"),
        pytest.param(asyncio.Task, "Task", "pass its result", id="asyncio.Task"),
        pytest.param(collections.abc.Awaitable[int], "Awaitable", "pass its result", id="Awaitable"),
        pytest.param(Callable[[int], int], "Callable, which is code", "pass its name", id="Callable"),
        pytest.param(type[int], "type[int], which is code", "pass its name", id="type[int]"),
        pytest.param(type, "type", "pass its name", id="type"),
        pytest.param(collections.abc.Iterable[int], "Iterable", "pass a list", id="Iterable"),
        pytest.param(collections.abc.Iterator[int], "Iterator", "pass a list", id="Iterator"),
        pytest.param(collections.abc.Generator[int, None, None], "Iterable", "pass a list", id="Generator"),
        pytest.param(collections.abc.AsyncIterator[int], "AsyncIterator", "pass a list", id="AsyncIterator"),
        pytest.param(collections.abc.Collection[int], "Collection", "annotate it as a list", id="Collection"),
        pytest.param(memoryview, "memoryview", "pass bytes", id="memoryview"),
        pytest.param(bytearray, "bytearray", "pass bytes", id="bytearray"),
        pytest.param(Quacks, "Quacks", "pass the values", id="Protocol"),
        pytest.param(Plain, "Plain, which cannot be written as JSON", "pass the values", id="any class"),
        pytest.param(NewType("Renamed", Plain), "Plain", "pass the values", id="NewType"),
        pytest.param(InstanceOf[Plain], "Plain", "pass the values", id="InstanceOf"),
        pytest.param(Item, "Item, which leaves open what is passed", "annotate it", id="TypeVar"),
        pytest.param(SecretStr, "SecretStr, which is written as asterisks", "filed under", id="SecretStr"),
        pytest.param(dict[tuple[int, int], str], "dict with a tuple as key", "a list of pairs", id="tuple keys"),
        pytest.param(Booking, "FutureDatetime, which is valid until a moment", "plain", id="a time in the future"),
        pytest.param(Exception, "Exception", "pass the values", id="Exception"),
        pytest.param(5, "5", "pass the values", id="no type at all"),
    ],
)
def test_a_type_that_cannot_cross_is_named_with_what_to_pass_instead(annotation: Any, named: str, instead: str) -> None:
    said = obstacle(annotation)

    assert said is not None
    assert said.startswith(f"has the parameter 'value' of type {named}")
    assert instead in said.partition(";")[2]


def test_the_obstacle_completes_a_sentence() -> None:
    def render(report_id: uuid.UUID, *, db: Session) -> None: ...

    assert ArgumentCodec(render, task="app.render").obstacle() == (
        "has the parameter 'db' of type Session, which is open in this process only; open one inside the task, and "
        "pass ids"
    )


def test_rest_parameters_are_looked_at_too() -> None:
    def takes(*sessions: Session) -> None: ...
    def takes_named(**sessions: Session) -> None: ...

    assert "'sessions' of type Session" in str(ArgumentCodec(takes, task="a").obstacle())
    assert "'sessions' of type Session" in str(ArgumentCodec(takes_named, task="a").obstacle())


@pytest.mark.parametrize(
    "annotation",
    [
        pytest.param(int, id="int"),
        pytest.param(Any, id="Any"),
        pytest.param(object, id="object"),
        pytest.param(None, id="None"),
        pytest.param(Converts, id="a model whose validator makes what pydantic does not know"),
        pytest.param(Annotated[int, Field(gt=0, default=5)], id="a field with a default"),
        pytest.param(dict[str, dict[str, list[uuid.UUID]]], id="nested containers"),
    ],
)
def test_what_may_cross_meets_no_obstacle(annotation: Any) -> None:
    assert obstacle(annotation) is None


def test_a_model_named_like_a_connection_may_cross() -> None:
    class DatabaseConnection(BaseModel):
        url: str

    assert obstacle(DatabaseConnection) is None


def test_a_call_that_meets_an_obstacle_is_refused_by_it() -> None:
    def takes(db: Session) -> None: ...

    with pytest.raises(ArgumentError) as caught:
        ArgumentCodec(takes, task="app.takes").encode((object(),), {})

    assert caught.value.argument == "db"
    assert "argument 'db' is of type Session, which is open in this process only; open one inside" in str(caught.value)


# -- names that are not defined -----------------------------------------------------------------------------


def test_a_name_that_is_not_defined_yet_is_no_obstacle_until_it_must_be() -> None:
    def takes(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # that is the point

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.obstacle() is None
    assert codec.obstacle(final=True) == (
        "has the parameter 'value', which is annotated with 'Nowhere', a name that is not defined at run time; "
        "define it above the task, or import it outside `if TYPE_CHECKING`"
    )


def test_a_name_for_type_checkers_only_is_an_obstacle_in_the_end() -> None:
    def takes(value: Decimal) -> None: ...

    assert "'Decimal'" in str(ArgumentCodec(takes, task="app.takes").obstacle(final=True))


def test_what_a_module_does_not_have_yet_is_named() -> None:
    def takes(value: uuid.NotYet) -> None: ...  # type: ignore[name-defined]  # that is the point

    assert "'NotYet'" in str(ArgumentCodec(takes, task="app.takes").obstacle(final=True))


def test_a_model_that_is_not_complete_is_named_by_what_it_lacks() -> None:
    class Incomplete(BaseModel):
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821  # that is the point

    def takes(a: int, value: list[Incomplete]) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert codec.obstacle() is None
    assert "'value', which is annotated with 'Nowhere'" in str(codec.obstacle(final=True))


def test_an_annotation_that_is_no_expression_is_an_obstacle_in_the_end() -> None:
    said = obstacle("int | ")

    assert said is None

    def takes(value: Any) -> None: ...

    takes.__annotations__["value"] = "int | "
    assert "cannot be evaluated (SyntaxError" in str(ArgumentCodec(takes, task="app.takes").obstacle(final=True))


def test_calls_are_refused_while_a_name_is_not_defined() -> None:
    def takes(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # that is the point

    codec = ArgumentCodec(takes, task="app.takes")

    with pytest.raises(ArgumentError, match="cannot be queued: argument 'value' is annotated with 'Nowhere'"):
        codec.encode((1,), {})
    with pytest.raises(PayloadError, match="cannot run: argument 'value' of its message is annotated with 'Nowhere'"):
        codec.decode([1], {})


def test_no_more_of_the_surrounding_function_is_kept_than_the_annotations_name() -> None:
    class Local(BaseModel):
        a: int

    class Large:
        pass

    large = Large()

    def takes(value: Local) -> None: ...

    codec = ArgumentCodec(takes, task="app.takes")

    assert list(codec._local_names) == ["Local"]
    assert large is not None
