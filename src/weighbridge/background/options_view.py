"""A view of a facade that carries per-call overrides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol

from weighbridge.call import CallOptions, Ticket

P = ParamSpec("P")


class Adder(Protocol):
    """Adds a call with its options: the facade, seen from its views."""

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions, /
    ) -> Ticket:
        """Weigh one call and send it down its lane."""
        ...


class OptionsView:
    """A facade with per-call overrides: ``tasks.options(delay_s=60).add_task(remind, user_id)``."""

    __slots__ = ("_add", "_options")

    def __init__(self, add: Adder, options: CallOptions) -> None:
        self._add = add
        self._options = options

    def add_task(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Ticket:
        """``BackgroundTasks.add_task`` with the overrides of this view."""
        return self._add(func, args, kwargs, self._options)
