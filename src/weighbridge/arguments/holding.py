"""What a type holds: every class named in an annotation, and in the fields of the models it names."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, PlainSerializer, WrapSerializer
from typing_extensions import is_typeddict

#: Where ``type X = …`` and ``NewType`` keep what they stand for.
_ALIASES: Final = ("__value__", "__supertype__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A class or type variable; ``direct`` if it is in the annotation itself, not in a field of a model there."""

    type: Any
    direct: bool


def held_by(hint: Any) -> Iterator[Held]:
    """Each class and type variable in ``hint``, the outer before the inner, each once."""
    return _walk(hint, direct=True, seen={})


def _walk(hint: Any, *, direct: bool, seen: dict[int, Any]) -> Iterator[Held]:
    if id(hint) in seen:
        return
    # An alias may name itself, and so may a model. Kept as well as marked, or another could take over its id.
    seen[id(hint)] = hint
    parameters = getattr(hint, "__type_params__", ())
    if isinstance(parameters, tuple):  # `type Ids[K] = dict[K, int]` leaves nothing open: K is told in Ids[str]
        seen.update({id(parameter): parameter for parameter in parameters})
    named = _named_in(hint)
    for inner in named:
        yield from _walk(inner, direct=direct, seen=seen)
    if not named and isinstance(hint, type | TypeVar):
        yield Held(type=hint, direct=direct)
        for inner in _fields_of(hint):
            yield from _walk(inner, direct=False, seen=seen)


def _named_in(hint: Any) -> Sequence[Any]:
    """The types that an annotation is put together from; none for a plain class."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        # What writes itself in a way of its own is its author's affair; the comparison will tell.
        its_own = any(isinstance(note, PlainSerializer | WrapSerializer) for note in hint.__metadata__)
        return () if its_own else typing.get_args(hint)[:1]
    if origin is not None:
        return () if origin is Literal else (origin, *typing.get_args(hint))
    if isinstance(hint, list):  # the parameters in Callable[[int], str]
        return hint
    return [getattr(hint, alias) for alias in _ALIASES if hasattr(hint, alias) and not isinstance(hint, type)]


def _fields_of(cls: Any) -> Iterable[Any]:
    if isinstance(cls, TypeVar):
        return ()
    if issubclass(cls, BaseModel):
        return [
            Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            for field in cls.model_fields.values()
        ]
    if dataclasses.is_dataclass(cls) or is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        try:
            return list(typing.get_type_hints(cls, include_extras=True).values())
        except Exception:  # noqa: BLE001  # what cannot be resolved here, pydantic reports with its name
            return ()
    return ()
