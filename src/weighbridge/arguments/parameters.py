"""The parameters of a function: which value goes to which name, as Python itself would bind them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from weighbridge.arguments.misfit import Misfit

_KIND = inspect.Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """A signature, sorted for binding. ``rest`` is the name of ``*args``, ``others`` that of ``**kwargs``."""

    positional: tuple[str, ...]
    keywords: frozenset[str]
    required: frozenset[str]
    rest: str | None
    others: str | None

    @classmethod
    def of(cls, func: Callable[..., Any]) -> Parameters:
        """Read the signature of ``func``."""
        each = inspect.signature(func).parameters.values()
        rest = [one.name for one in each if one.kind is _KIND.VAR_POSITIONAL]
        others = [one.name for one in each if one.kind is _KIND.VAR_KEYWORD]
        by_position = (_KIND.POSITIONAL_ONLY, _KIND.POSITIONAL_OR_KEYWORD)
        by_keyword = (_KIND.POSITIONAL_OR_KEYWORD, _KIND.KEYWORD_ONLY)
        return cls(
            positional=tuple(one.name for one in each if one.kind in by_position),
            keywords=frozenset(one.name for one in each if one.kind in by_keyword),
            required=frozenset(
                one.name for one in each if one.default is _KIND.empty and one.kind in {*by_position, *by_keyword}
            ),
            rest=rest[0] if rest else None,
            others=others[0] if others else None,
        )

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The values by parameter; what was not passed is not there, so that its default stays the function's.

        :raises Misfit: for a value too many, an unknown keyword, a value given twice, a missing value.
        """
        positional = self.positional
        values: dict[str, Any] = dict(zip(positional, args, strict=False))
        if len(args) > len(positional):
            if self.rest is None:
                raise Misfit(
                    argument=f"#{len(positional) + 1}",
                    problem=f"is one too many: the task takes {len(positional)} by position, not {len(args)}",
                    remedy="pass what its signature names",
                )
            values[self.rest] = args[len(positional) :]
        if kwargs:
            self._bind_keywords(values, kwargs)
        if not values.keys() >= self.required:
            missing = next(
                name for name in (*self.positional, *sorted(self.required)) if name in self.required - values.keys()
            )
            raise Misfit(argument=missing, problem="is missing, and it has no default", remedy="pass it")
        return values

    def _bind_keywords(self, values: dict[str, Any], kwargs: Mapping[str, Any]) -> None:
        others: dict[str, Any] = {}
        for name, value in kwargs.items():
            if name in self.keywords:
                if name in values:
                    raise Misfit(
                        argument=name,
                        problem="is given twice, by position and by keyword",
                        remedy="drop one of the two",
                    )
                values[name] = value
            elif self.others is not None:
                others[name] = value
            else:
                raise Misfit(argument=name, problem=self._unknown(name), remedy="pass what its signature names")
        if others and self.others is not None:
            values[self.others] = others

    def _unknown(self, name: str) -> str:
        if name in self.positional:
            return "is given by keyword, and the task takes it by position only"
        return "is no parameter of the task"

    def unbind(
        self, values: Mapping[str, Any], count: int, keywords: Iterable[str]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The values in the shape of the call: ``count`` of them by position, the rest by these keywords."""
        args = [values[name] for name in self.positional[:count]]
        if self.rest is not None and self.rest in values:
            args.extend(values[self.rest])
        kwargs = {name: values[name] if name in self.keywords else values[self.others or ""][name] for name in keywords}
        return args, kwargs
