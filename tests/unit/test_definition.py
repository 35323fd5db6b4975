"""What makes two functions the same one made again: all that decides what a call of them does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pytest

from weighbridge.definition import is_made_again, place_of


def closing_over(value: Any) -> Callable[..., Any]:
    def func() -> Any:
        return value

    return func


def defaulting_to(value: Any) -> Callable[..., Any]:
    def func(given: Any = value) -> Any:
        return given

    return func


def with_attribute(value: Any) -> Callable[..., Any]:
    def func() -> Any: ...

    vars(func)["kept"] = value
    return func


def send() -> None: ...


def wrapped(name: str) -> Callable[..., Any]:
    return functools.wraps(send)(closing_over(name))


def recursive(step: int) -> Callable[..., Any]:
    def func(number: int) -> int:
        return 0 if number <= 0 else func(number - step)

    return func


def not_assigned_yet() -> Callable[..., Any]:
    def func() -> Any:
        return later

    if send.__name__ != "send":
        later = 1
    return func


class Plain:
    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True)
class Record:
    number: float


MAKERS = pytest.mark.parametrize("make", [closing_over, defaulting_to, with_attribute])


def partial_of(value: Any) -> Callable[..., Any]:
    return functools.update_wrapper(functools.partial(print, value), send)


#: Each makes equal values anew.
SAME: dict[str, Callable[[], Any]] = {
    "an int": lambda: 1,
    "a string": lambda: "A",
    "containers": lambda: [1, {"a": (2.5,)}],
    "a dataclass": lambda: Record(1),
    "one function": lambda: send,
    "a class": lambda: Plain,
    "a closure": lambda: closing_over("A"),
    "a wrapper in a list": lambda: [wrapped("A")],
}
OTHER: dict[str, tuple[Any, Any]] = {
    "ints": (1, 2),
    "an int and a bool": (1, True),
    "an int and a bool in dataclasses": (Record(1), Record(True)),
    "lengths": ([1], [1, 2]),
    "keys": ({"a": 1}, {"b": 1}),
    "closures": (closing_over("A"), closing_over("B")),
    "wrappers": (wrapped("A"), wrapped("B")),
    "wrappers in lists": ([wrapped("A")], [wrapped("B")]),
    "partials": (partial_of("A"), partial_of("B")),
    "objects without ==": (Plain(1), Plain(1)),
    "locks": (Lock(), Lock()),
}


@MAKERS
@pytest.mark.parametrize("value", SAME)
def test_the_same_values_make_the_same_function(make: Callable[..., Any], value: str) -> None:
    assert is_made_again(make(SAME[value]()), make(SAME[value]()))


@MAKERS
@pytest.mark.parametrize("values", OTHER)
def test_other_values_or_what_cannot_be_compared_make_another_function(make: Callable[..., Any], values: str) -> None:
    one, other = OTHER[values]

    assert not is_made_again(make(one), make(other))


def test_a_function_that_calls_itself_is_compared_too() -> None:
    assert is_made_again(recursive(1), recursive(1))
    assert not is_made_again(recursive(1), recursive(2))


def test_a_cell_that_holds_nothing_yet_is_compared_too() -> None:
    assert is_made_again(not_assigned_yet(), not_assigned_yet())


def test_a_value_that_fails_at_being_compared_is_another() -> None:
    endless: list[Any] = []
    endless.append(endless)
    other: list[Any] = []
    other.append(other)

    assert not is_made_again(closing_over(endless), closing_over(other))


def test_a_cycle_of_wrapped_functions_has_a_place() -> None:
    func = closing_over(1)
    vars(func)["__wrapped__"] = func

    assert place_of(func) == f"{__name__}.closing_over.<locals>.func"
