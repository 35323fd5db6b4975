"""The annotations of a function, resolved to types: strings, names under ``TYPE_CHECKING``, local classes."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from types import CodeType, SimpleNamespace
from typing import Any, Final

import typing_extensions

_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")
_UNPACK: Final = (typing.Unpack, typing_extensions.Unpack)


class UnresolvedError(Exception):
    """The annotation of a parameter names what is not defined, or not yet. Never leaves this package."""

    def __init__(self, *, parameter: str, problem: str) -> None:
        self.parameter = parameter
        self.problem = problem
        self.remedy = "define it above the task, or import it outside `if TYPE_CHECKING`"
        super().__init__(parameter, problem)

    def __str__(self) -> str:
        return f"has the parameter {self.parameter!r}, which {self.problem}; {self.remedy}"

    @classmethod
    def because(cls, error: Exception, *, parameter: str) -> UnresolvedError:
        """From what evaluating the annotation of ``parameter`` raised."""
        if isinstance(error, NameError | AttributeError) and error.name:
            problem = f"is annotated with {error.name!r}, a name that is not defined at run time"
        else:
            problem = f"has an annotation that cannot be evaluated ({type(error).__name__}: {error})"
        return cls(parameter=parameter, problem=problem)


def resolved(func: Callable[..., Any], local_names: Mapping[str, Any]) -> dict[str, Any]:
    """The type of each parameter: ``Any`` if it is not annotated, a tuple for ``*args``, a dict for ``**kwargs``.

    :raises UnresolvedError: if an annotation names what is not defined.
    """
    each = inspect.signature(func).parameters
    origin = inspect.unwrap(func)
    generics = {parameter.__name__: parameter for parameter in getattr(origin, "__type_params__", ())}
    names = {**local_names, **generics}
    hints = {
        name: _evaluated(name, one.annotation, getattr(origin, "__globals__", {}), names) for name, one in each.items()
    }
    return {name: _of_kind(one.kind, hints[name]) for name, one in each.items()}


def _evaluated(parameter: str, annotation: Any, module_names: dict[str, Any], names: dict[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation  # most are: nothing in them is left to evaluate
    holder = SimpleNamespace(__annotations__={parameter: annotation})
    try:
        return typing.get_type_hints(holder, globalns=module_names, localns=names, include_extras=True)[parameter]
    except Exception as error:  # noqa: BLE001  # an annotation is any expression, and may raise anything
        raise UnresolvedError.because(error, parameter=parameter) from None


def _of_kind(kind: Any, hint: Any) -> Any:
    """What a parameter of this kind receives, for an annotation that says what one item is."""
    unpacked = typing.get_args(hint)[0] if typing.get_origin(hint) in _UNPACK else None
    if kind is inspect.Parameter.VAR_POSITIONAL:
        if getattr(hint, "__unpacked__", False):  # *args: *tuple[int, str]
            return tuple.__class_getitem__(typing.get_args(hint))
        return tuple[hint, ...] if unpacked is None else unpacked
    if kind is inspect.Parameter.VAR_KEYWORD:
        return dict[str, hint] if unpacked is None else unpacked
    return hint


def names_around(func: Callable[..., Any]) -> dict[str, Any]:
    """What the annotations of a function inside a function name of its surroundings.

    Only the running frame knows these names, so this is called where the function is declared. It keeps no more
    of the frame than what the annotations mention.
    """
    origin = inspect.unwrap(func)
    code = getattr(origin, "__code__", None)
    if code is None or "<locals>" not in origin.__qualname__:
        return {}
    written = " ".join(hint for hint in origin.__annotations__.values() if isinstance(hint, str))
    mentioned = set(_IDENTIFIER.findall(written))
    frame = inspect.currentframe()
    while frame is not None:
        if any(_makes(const, code) for const in frame.f_code.co_consts):
            local = frame.f_locals
            return {name: local[name] for name in mentioned if name in local}
        frame = frame.f_back
    return {}


def _makes(const: object, code: CodeType) -> bool:
    if const is code:
        return True
    # Python puts a scope of its own around `def f[T](…)`.
    if not isinstance(const, CodeType) or not const.co_name.startswith("<generic parameters of"):
        return False
    return any(inner is code for inner in const.co_consts)
