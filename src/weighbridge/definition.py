"""The definition of a function: whether two come from one ``def`` that ran again, or from two of one name in a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from weighbridge.arguments.comparison import difference_of


def is_made_again(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether both come from one ``def`` with the same defaults, so that either does the work of the other.

    A factory that ran again makes such, and a module that was reloaded unchanged.
    """
    first, second = _defined(one), _defined(other)
    if first is None or second is None:
        return first is second
    return first.__code__ == second.__code__ and _equal(
        (first.__defaults__, first.__kwdefaults__), (second.__defaults__, second.__kwdefaults__)
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
    origin = inspect.unwrap(func)
    return origin if isinstance(origin, FunctionType) else None


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from _codes_in(const)


def _equal(one: object, other: object) -> bool:
    try:
        return difference_of(one, other) is None
    except Exception:  # noqa: BLE001  # comparing runs foreign code; what cannot be compared is not known to be equal
        return False
