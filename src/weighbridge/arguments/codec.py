"""The codec of one task: its arguments to plain JSON, checked by reading them back, and JSON to typed values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.arguments.annotations import UnresolvedError, names_around, resolved
from weighbridge.arguments.limit import size_of, too_deep, too_large
from weighbridge.arguments.misfit import Misfit
from weighbridge.arguments.obstacle import Obstacle
from weighbridge.arguments.parameters import Parameters
from weighbridge.arguments.schema import Schema, schema_of
from weighbridge.arguments.signature import ParameterSignature, signature_of
from weighbridge.arguments.wire import read, write
from weighbridge.errors import ArgumentError, ArgumentSizeError, PayloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is known once the annotations are resolved."""

    parameters: Parameters
    schema: Schema | Obstacle


class ArgumentCodec:
    """Writes and reads the arguments of ``func``, by its signature.

    Making one is cheap and never fails: annotations are resolved when they are first needed, for they may name
    what is defined further down. It is safe to use from several threads.
    """

    def __init__(self, func: Callable[..., Any], *, task: str) -> None:
        self._func = func
        self._task = task
        self._local_names = names_around(func)
        self._plan: _Plan | None = None

    def obstacle(self, *, final: bool = False) -> str | None:
        """Why no call of this function can cross, from its signature alone, completing "it …"; else ``None``.

        :param final: Whether a name that is not defined yet is an obstacle (true), or may still be (false).
        """
        try:
            schema = self._planned().schema
        except UnresolvedError as error:
            return str(error) if final else None
        return str(schema) if isinstance(schema, Obstacle) else None

    def signature(self) -> tuple[ParameterSignature, ...]:
        """The parameters as data that another process can compare with its own.

        :raises ArgumentError: if no call of this function can cross.
        """
        schema, parameters = self._usable(ArgumentError)
        return signature_of(parameters, schema.adapter)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as plain JSON values, which are known to read back equal and of the same types.

        Values are only read. What was not passed is not written: its default is the function's, there as here.

        :raises ArgumentError: for a call that does not fit the signature, or a value that does not survive the way
            (:class:`ArgumentSizeError`: of too many levels); it names the argument and the place in it, and holds no
            values.
        """
        schema, parameters = self._usable(ArgumentError)
        try:
            values = parameters.bind(args, kwargs)
            plain = write(schema, values)
        except Misfit as misfit:
            facts, of_size = misfit.facts, misfit.of_size
        else:
            deep = too_deep(plain)
            if deep is None:
                return parameters.unbind(plain, len(args), kwargs)
            facts, of_size = deep.facts, True
        raise (ArgumentSizeError if of_size else ArgumentError)(task=self._task, **facts)

    def check_size(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        limit_bytes: int,
        error: type[ArgumentError] = ArgumentError,
    ) -> None:
        """Refuse plain values that are more than ``limit_bytes`` of JSON.

        :raises ArgumentSizeError: naming the largest argument; or ``error``, if another one was given.
        """
        size_bytes = size_of(args, kwargs)
        if size_bytes <= limit_bytes:
            return
        try:
            plain = self._usable(error)[1].bind(tuple(args), kwargs)
            facts = too_large(plain, size_bytes=size_bytes, limit_bytes=limit_bytes).facts
            error = ArgumentSizeError if error is ArgumentError else error
        except Misfit as misfit:  # a message's arguments may fit no signature either
            facts = misfit.facts
        raise error(task=self._task, **facts)

    def decode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The typed values of a message's plain ones.

        :raises PayloadError: (an :class:`ArgumentError`) for a payload that the signature does not take.
        """
        schema, parameters = self._usable(PayloadError)
        try:
            plain = parameters.bind(tuple(args), kwargs)
            deep = too_deep(plain)
            values = read(schema, plain) if deep is None else {}
        except Misfit as misfit:
            facts = misfit.facts
        else:
            if deep is None:
                positional, keywords = parameters.unbind(values, len(args), kwargs)
                return tuple(positional), keywords
            facts = deep.facts
        raise PayloadError(task=self._task, **facts)

    def _planned(self) -> _Plan:
        # No lock: threads that come at once do the same work, and the last one's is kept. A lock could be held
        # while a type's own schema hook imports a module that waits for it.
        plan = self._plan
        if plan is None:
            hints = resolved(self._func, self._local_names)
            plan = self._plan = _Plan(parameters=Parameters.of(self._func), schema=schema_of(hints))
        return plan

    def _usable(self, error: type[ArgumentError]) -> tuple[Schema, Parameters]:
        try:
            plan = self._planned()
        except UnresolvedError as unresolved:
            parameter, problem, remedy = unresolved.parameter, unresolved.problem, unresolved.remedy
        else:
            if isinstance(plan.schema, Schema):
                return plan.schema, plan.parameters
            parameter, problem, remedy = plan.schema.parameter, plan.schema.problem, plan.schema.kind.instead
        raise error(task=self._task, argument=parameter, problem=problem, remedy=remedy)
