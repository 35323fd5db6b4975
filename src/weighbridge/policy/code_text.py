"""The text of a policy in code: its code and its plain values, written alike in each process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import cached_property, partial, partialmethod
from types import CodeType, FunctionType, MappingProxyType, MemberDescriptorType, MethodType
from typing import Any, Final

#: Deeper inside each other than this, values are told apart by their types alone.
DEEPEST: Final = 50
#: In a class's namespace what has two underscores is Python's own, but for functions; and these tell no behaviour.
_ANNOTATIONS: Final = frozenset({"__annotate__", "__annotate_func__"})
#: Set in the flags of a class that was made by a class statement.
_MADE_BY_A_STATEMENT: Final = 1 << 9


def code_text(policy: object) -> str:
    """What a policy in code is made of, as one text: of two that differ in what is looked at it is another.

    Looked at are: what its methods compile to; their defaults, the functions that they wrap, and of what they use from
    around them and from their module the plain values and the functions; the plain values of its class and of the
    object; and all of that of a policy inside it. Plain are numbers, texts, flags, ``None``, members of enumerations,
    and tuples, lists, sets, dictionaries and dataclasses of those; of everything else the name of its type. Sets and
    dictionaries are written in the order of what is in them. It does no I/O, so it looks at no source.
    """
    return _Writer().maker(policy)


class _Writer:
    """Writes values: code in full only once, and then by its name."""

    def __init__(self) -> None:
        self._told: set[int] = set()
        self._inside: list[int] = []

    def maker(self, value: object) -> str:
        """An object whose class has code: that, and its values."""
        kind = type(value)
        if id(value) in self._told:
            return _name(kind)
        self._told.add(id(value))
        return f"{_name(kind)} {self._class(kind)} {self._named(_attributes(value))}"

    def _class(self, kind: type) -> str:
        return " ".join(
            self._named(_namespace(each))
            for each in kind.__mro__
            if each.__flags__ & _MADE_BY_A_STATEMENT and each.__module__ != "typing"
        )

    # -- values --

    def _value(self, value: object) -> str:
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        if id(value) in self._inside or len(self._inside) >= DEEPEST:
            return _name(type(value))
        self._inside.append(id(value))
        try:
            return self._container(value) or self._callable(value) or self._object(value)
        finally:
            self._inside.pop()

    def _named(self, values: Iterable[tuple[str, object]]) -> str:
        return f"{{{', '.join(f'{name}={self._value(value)}' for name, value in sorted(values, key=_first))}}}"

    def _container(self, value: object) -> str:
        kind = _name(type(value))
        if isinstance(value, tuple | list):
            return f"{kind}[{', '.join(map(self._value, value))}]"
        if isinstance(value, set | frozenset):  # the order of texts differs from process to process
            return f"{kind}[{', '.join(sorted(map(self._value, value)))}]"
        if isinstance(value, dict | MappingProxyType):  # another mapping may be the environment, or a table elsewhere
            pairs = sorted(f"{self._value(key)}: {self._value(each)}" for key, each in value.items())
            return f"{kind}[{', '.join(pairs)}]"
        return ""

    def _object(self, value: object) -> str:
        if isinstance(value, type):
            return f"class {_name(value)}"
        if hasattr(type(value), "decide") or "decide" in _vars(value):
            return self.maker(value)
        if isinstance(type(value).__dict__.get("__call__"), FunctionType):
            return self.maker(value)
        if is_dataclass(value):
            return f"{_name(type(value))}{self._named(_attributes(value))}"
        return _name(type(value))

    # -- code --

    def _callable(self, value: object) -> str:
        match value:
            case FunctionType():
                return self._function(value)
            case MethodType():
                return f"{self._value(value.__func__)} of {self.maker(value.__self__)}"
            case partial() | partialmethod():
                given = f"{self._value(value.args)} {self._value(value.keywords)}"
                return f"partial {self._value(value.func)} {given}"
            case _:
                wrapped = _wrapped(value)
                return "" if wrapped is None else f"{_name(type(value))} {self._value(wrapped)}"

    def _function(self, function: FunctionType) -> str:
        if id(function) in self._told:
            return f"function {function.__qualname__}"
        self._told.add(id(function))
        code = function.__code__
        parts = [
            self._code(code),
            self._value(function.__defaults__),
            self._value(function.__kwdefaults__),
            self._named(_closure(function)),
            self._named(_vars(function).items()),
            self._named(self._globals(function)),
        ]
        return f"function {' '.join(parts)}"

    def _globals(self, function: FunctionType) -> Iterator[tuple[str, object]]:
        """What a function may use of its module; of other modules' functions no more than the names."""
        for name in sorted(_names(function.__code__)):
            value = function.__globals__.get(name, function)
            if isinstance(value, FunctionType) and value.__globals__ is not function.__globals__:
                yield name, f"{value.__module__}.{value.__qualname__}"
            elif value is not function:
                yield name, value

    def _code(self, code: CodeType) -> str:
        parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        constants = [self._code(each) if isinstance(each, CodeType) else self._value(each) for each in code.co_consts]
        instructions = f"{code.co_code.hex()} {code.co_exceptiontable.hex()}"
        return f"{instructions} {code.co_flags:x} {parameters} {code.co_names} {constants}"


def _wrapped(value: object) -> object:
    """The function that something stands around; ``None`` if it stands around none."""
    match value:
        case staticmethod() | classmethod():
            return value.__func__
        case property():
            return value.fget
        case cached_property():
            return value.func
        case _:  # as what lru_cache makes
            return _vars(value).get("__wrapped__")


def _scalar(value: object) -> str | None:
    kind = type(value)
    if isinstance(value, Enum):
        return f"{_name(kind)}.{value.name}"
    for scalar in (bool, int, float, complex, str, bytes):
        if isinstance(value, scalar):
            # The decimal digits of an int are limited in number.
            written = int.__format__(value, "x") if scalar is int else scalar.__repr__(value)  # type: ignore[arg-type]  # it is one
            return written if kind is scalar else f"{_name(kind)} {written}"
    return repr(value) if value is None or value is Ellipsis else None


def _namespace(kind: type) -> Iterator[tuple[str, object]]:
    for name, value in vars(kind).items():
        own = isinstance(value, FunctionType) or not (name.startswith("__") and name.endswith("__"))
        if own and name not in _ANNOTATIONS:
            yield name, value


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    """The values of an object, less what it has found out since it was made."""
    kinds = type(value).__mro__
    found = {name for kind in kinds for name, each in vars(kind).items() if isinstance(each, cached_property)}
    yield from ((name, each) for name, each in _vars(value).items() if name not in found)
    for kind in kinds:
        for name, slot in vars(kind).items():
            if isinstance(slot, MemberDescriptorType) and hasattr(value, name):
                yield name, getattr(value, name)


def _closure(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it is not assigned yet
            continue


def _names(code: CodeType) -> set[str]:
    inside = (_names(each) for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*inside)


def _vars(value: object) -> Mapping[str, Any]:
    """The object's own dictionary, if it has one: never what ``__getattr__`` makes up."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _first(pair: tuple[str, object]) -> str:
    return pair[0]
