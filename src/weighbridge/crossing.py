"""Whether a function can cross a process: known from the function alone, without looking at any value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

MAIN = "__main__"


def shape_obstacle(func: Callable[..., Any]) -> str | None:
    """Why a worker could not find or rebuild ``func`` by a registered name; ``None`` if it could.

    The text completes the sentence "… cannot be queued: it …".
    """
    if isinstance(func, functools.partial):
        return "is a partial, and the values bound in it have no name; declare the function and pass them as arguments"
    if inspect.ismethod(func):
        return "is a bound method, and a worker does not have its object; declare a function and pass an id"
    if not isinstance(func, FunctionType):
        return f"is a {type(func).__name__} object, not a function; declare a function that does the same"
    return _function_obstacle(func)


def _function_obstacle(func: FunctionType) -> str | None:
    if func.__name__ == "<lambda>":
        return "is a lambda, and a worker cannot find it by name; use def"
    # A function of a module that a decorator has wrapped has cells too, and they are there wherever it is imported.
    if func.__closure__ and "<locals>" in func.__qualname__:
        names = ", ".join(func.__code__.co_freevars)
        return f"closes over {names}, which a worker does not have; pass what it needs as arguments"
    if func.__module__ == MAIN:
        return "is declared in __main__, which is another module in a worker; move it to a module that both import"
    return None


def call_is_async(func: Callable[..., Any]) -> bool:
    """Whether calling ``func`` gives a coroutine: the rule by which Starlette tells async from sync work."""
    while isinstance(func, functools.partial):
        func = func.func
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004  # looked at, not tested for
