"""The definition of a function: whether two of one name are the same one made again, or two."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, Final

from weighbridge.arguments.comparison import difference_of

#: The names of a module that is executed as the program; multiprocessing's children have it under the second.
_PROGRAM: Final = frozenset({"__main__", "__mp_main__"})

#: Stands for what a cell does not hold yet.
_EMPTY: Final = object()

_Pair = tuple[int, int]


def is_made_again(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether both were made in the same way from the same code, so that either does the work of the other.

    A factory that ran again makes such, and a module that was reloaded unchanged, with all that its decorators put
    around them. Compared are the code, the defaults, the attributes and what is closed over, in each layer down
    ``__wrapped__`` and in each function that a layer closes over. Values are the same if they are one object, or equal
    by a ``==`` of their own; what cannot be compared is not.
    """
    try:
        return _same(one, other, set())
    except Exception:  # noqa: BLE001  # comparing runs foreign code; what cannot be compared is not known to be equal
        return False


def wraps_the_same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether one function object is below both, which are two, and were not made in the same way.

    A reload or another run of a factory makes no such pair, unless it puts another wrapper around a function that it
    did not make.
    """
    below = _defined(one)
    return below is not None and below is _defined(other) and not is_made_again(one, other)


def is_of_program(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether ``one`` is the program's (``python app.py``), and ``other`` the same of its file's import as a module."""
    first, second = _defined(one), _defined(other)
    if first is None or second is None or one.__module__ not in _PROGRAM or other.__module__ in _PROGRAM:
        return False
    return (
        one.__qualname__ == other.__qualname__
        and first.__code__.co_firstlineno == second.__code__.co_firstlineno
        and os.path.realpath(first.__code__.co_filename) == os.path.realpath(second.__code__.co_filename)
    )


def is_beside(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether the module's body that runs at this moment holds both definitions, one below the other.

    Certain where it is true: whatever runs a source again (an import, a reload, ``exec``, a notebook's cell) compiles
    it again, and no older function is of the new code. False for functions inside functions, of which one run of a
    factory may make the one and the next run the other.
    """
    first, second = _defined(one), _defined(other)
    if first is None or second is None or first.__code__ is second.__code__ or "<locals>" in second.__qualname__:
        return False
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals is second.__globals__ is first.__globals__:
            inside = {id(code) for code in _codes_in(frame.f_code)}
            if {id(first.__code__), id(second.__code__)} <= inside:
                return True
        frame = frame.f_back
    return False


def place_of(func: Callable[..., Any]) -> str:
    """Where it is defined, for a person: ``app.tasks.send (app/tasks.py, line 7)``."""
    name = f"{getattr(func, '__module__', '?')}.{getattr(func, '__qualname__', repr(func))}"
    defined = _defined(func)
    if defined is None:
        return name
    return f"{name} ({defined.__code__.co_filename}, line {defined.__code__.co_firstlineno})"


def _defined(func: Callable[..., Any]) -> FunctionType | None:
    """The function below its decorators, all of which may be the work of one and the same ``def``."""
    try:
        origin = inspect.unwrap(func)
    except ValueError:  # a cycle
        return None
    return origin if isinstance(origin, FunctionType) else None


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _codes_in(const)


def _same(one: Any, other: Any, compared: set[_Pair]) -> bool:
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is FunctionType:
        return _same_function(one, other, compared)
    if kind is tuple or kind is list:
        return len(one) == len(other) and all(_same(*pair, compared) for pair in zip(one, other, strict=True))
    if kind is dict:
        return one.keys() == other.keys() and all(_same(one[key], other[key], compared) for key in one)
    # Both: == takes 1 for True, and attributes do not show what C code keeps to itself.
    return (one == other) is True and difference_of(one, other) is None


def _same_function(one: FunctionType, other: FunctionType, compared: set[_Pair]) -> bool:
    pair = (id(one), id(other))
    if pair in compared:  # under way above, as in a function that calls itself: whatever differs is found there
        return True
    compared.add(pair)
    return (
        one.__code__ == other.__code__
        and _same(one.__defaults__, other.__defaults__, compared)
        and _same(one.__kwdefaults__, other.__kwdefaults__, compared)
        and _same(vars(one), vars(other), compared)  # ``__wrapped__`` among them
        and _same(_closed_over(one), _closed_over(other), compared)
    )


def _closed_over(func: FunctionType) -> list[Any]:
    """What its cells hold."""
    contents: list[Any] = []
    for cell in func.__closure__ or ():
        try:
            contents.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            contents.append(_EMPTY)
    return contents
