"""The text of a policy in code: its code and its plain values, written alike in each process."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import datetime, time
from enum import Enum
from functools import cached_property, partial, partialmethod
from types import CodeType, FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final, TypeAlias

from weighbridge.policy.digest import Bag, Budget, Piece, digest_of
from weighbridge.policy.scalar_text import scalar_text, type_name

#: Further away from the policy than this, values are told apart by their types alone.
DEEPEST: Final = 50
#: What a policy may declare: of a module nothing else is looked at, but what these use.
_DECLARED: Final = ("decide", "default_lane", "possible_lanes", "reads", "revision")
#: In a class's namespace what has two underscores is Python's own, but for functions; and these tell no behaviour.
_ANNOTATIONS: Final = frozenset({"__annotate__", "__annotate_func__"})
#: Set in the flags of a class that was made by a class statement.
_MADE_BY_A_STATEMENT: Final = 1 << 9
#: The names of the modules whose classes are looked into: those of the code that holds or uses them.
_Home: TypeAlias = frozenset[str]
_NOWHERE: Final[_Home] = frozenset()
_Parts: TypeAlias = list[Piece | Bag]


def code_text(policy: object) -> str:
    """What a policy in code is made of, as a digest: of two that differ in what is looked at it is another.

    Looked at are: what its methods compile to; their defaults, the functions that they wrap, and of what they use from
    around them and from their module the plain values, the functions and the classes; the plain values of its class and
    of the object; and all of that of a policy inside it, and of an object whose class is of the same module. Plain are
    numbers, texts, flags, ``None``, times, ranges, patterns, members of enumerations, and tuples, lists, sets,
    dictionaries and dataclasses of those; of everything else the name of its type. Sets and dictionaries have no order.
    It does no I/O, so it looks at no source.

    :raises ValueError: if there is more in it than :data:`~weighbridge.policy.digest.MOST_PIECES`.
    """
    return _Writer().text(policy)


class _Writer:
    """Writes each value once, as a thing of which the others say the number: those next to the policy first."""

    def __init__(self) -> None:
        self._budget = Budget()
        self._numbers: dict[tuple[int, _Home, bool], int] = {}
        #: The values are kept: another one could get the ``id`` of one that is gone.
        self._found: deque[tuple[object, _Home, bool, int]] = deque()
        self._kept: list[object] = []
        self._depth = 0

    def text(self, policy: object) -> str:
        self._thing(policy, _NOWHERE, whole=True)
        things: list[_Parts] = []
        while self._found:
            value, home, whole, self._depth = self._found.popleft()
            parts = self._parts(value, home, whole=whole)
            self._budget.spend(len(parts))
            things.append(parts)
        return digest_of(things, budget=self._budget)

    def _thing(self, value: object, home: _Home, *, whole: bool = False) -> int:
        """The number of a value; ``whole`` if it is to be looked into, whatever it is."""
        key = (id(value), home, whole)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            self._kept.append(value)
            self._found.append((value, home, whole, self._depth + 1))
        return number

    def _value(self, value: object, home: _Home) -> Piece:
        scalar = scalar_text(value)
        if scalar is not None and not (isinstance(value, ModuleType) and "decide" in vars(value)):
            return scalar
        return type_name(type(value)) if self._depth >= DEEPEST else self._thing(value, home)

    def _parts(self, value: object, home: _Home, *, whole: bool) -> _Parts:
        if whole:
            return self._maker(value)
        return (
            self._callable(value, home)
            or self._class_or_member(value, home)
            or (self._maker(value) if _is_looked_into(value, home) else [])
            or self._container(value, home)
            or self._object(value, home)
        )

    # -- values --

    def _named(self, values: Iterable[tuple[str, object]], home: _Home) -> Bag:
        named: Bag = [(name, self._value(value, home)) for name, value in values]
        self._budget.spend(len(named))
        return named

    def _container(self, value: object, home: _Home) -> _Parts:
        kind = type_name(type(value))
        if isinstance(value, tuple | list | set | frozenset | dict | MappingProxyType):
            self._budget.spend(len(value))
        if isinstance(value, tuple | list):
            return [kind, *(self._value(each, home) for each in value)]
        if isinstance(value, set | frozenset):
            return [kind, [(self._value(each, home),) for each in value]]
        if isinstance(value, dict | MappingProxyType):  # another mapping may be the environment, or a table elsewhere
            return [kind, [(self._value(key, home), self._value(each, home)) for key, each in value.items()]]
        return []

    def _class_or_member(self, value: object, home: _Home) -> _Parts:
        if isinstance(value, type):
            return ["class", *(self._class(value) if value.__module__ in home else [type_name(value)])]
        if isinstance(value, Enum):
            kind = type(value)
            own = self._value(kind, home) if kind.__module__ in home else type_name(kind)
            return [own, str(value.name), self._value(value._value_, home)]
        return []

    def _object(self, value: object, home: _Home) -> _Parts:
        kind = type_name(type(value))
        if isinstance(value, datetime | time):
            return [kind, repr(value.replace(tzinfo=None)), self._value(value.tzinfo, home)]
        return [kind, self._named(_attributes(value), home)] if is_dataclass(value) else [kind]

    def _maker(self, value: object) -> _Parts:
        """An object whose class has code: that, and its values."""
        own = _vars(value)
        if isinstance(value, ModuleType):
            declared = [(name, each) for name, each in own.items() if name in _DECLARED]
            return ["module", self._named(declared, frozenset({value.__name__}))]
        if isinstance(value, type):
            return ["class", *self._class(value)]
        home = frozenset(each.__module__ for each in _written(type(value)))
        if isinstance(own.get("decide"), FunctionType):
            home |= _home_of(own["decide"])
        inside = self._container(value, home)
        return [*self._class(type(value)), self._named(_attributes(value), home), *inside]

    def _class(self, kind: type) -> _Parts:
        written = _written(kind)
        home = frozenset(each.__module__ for each in written)
        return [type_name(kind), *(self._named(_namespace(each), home) for each in written)]

    # -- code --

    def _callable(self, value: object, home: _Home) -> _Parts:
        match value:
            case FunctionType():
                return self._function(value)
            case MethodType():
                return ["method", self._value(value.__func__, home), self._thing(value.__self__, _NOWHERE, whole=True)]
            case partial() | partialmethod():
                given = (value.func, value.args, value.keywords)
                return ["partial", *(self._value(each, home) for each in given)]
            case _:
                wrapped = _wrapped(value)
                return [] if wrapped is None else [type_name(type(value)), self._value(wrapped, home)]

    def _function(self, function: FunctionType) -> _Parts:
        home = _home_of(function)
        return [
            "function",
            *self._code(function.__code__, home),
            self._value(function.__defaults__, home),
            self._value(function.__kwdefaults__, home),
            self._named(_closure(function), home),
            self._named(_vars(function).items(), home),
            self._named(_globals(function) if home else (), home),
        ]

    def _code(self, code: CodeType, home: _Home) -> Iterator[Piece]:
        parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        yield f"{code.co_code.hex()} {code.co_exceptiontable.hex()} {code.co_flags:x} {parameters} {code.co_names} ["
        for each in code.co_consts:
            if isinstance(each, CodeType):
                yield from self._code(each, home)
            else:
                yield self._value(each, home)
        yield "]"


def _is_looked_into(value: object, home: _Home) -> bool:
    """Whether it is a policy, something like a function, or of a class of the module that holds it."""
    kind = type(value)
    if hasattr(kind, "decide") or "decide" in _vars(value) or isinstance(vars(kind).get("__call__"), FunctionType):
        return True
    return kind.__module__ in home and bool(kind.__flags__ & _MADE_BY_A_STATEMENT)


def _written(kind: type) -> list[type]:
    """The classes that one is made of, as far as somebody's class statement made them."""
    return [each for each in kind.__mro__ if each.__flags__ & _MADE_BY_A_STATEMENT and not _is_pythons(each.__module__)]


def _is_pythons(module: str) -> bool:
    """Whether it came with Python: what its modules hold, as the threads that run, differs from process to process."""
    return module.partition(".")[0] in sys.stdlib_module_names


def _home_of(function: FunctionType) -> _Home:
    module = str(function.__globals__.get("__name__", ""))
    return _NOWHERE if _is_pythons(module) else frozenset({module})


def _globals(function: FunctionType) -> Iterator[tuple[str, object]]:
    """What a function may use of its module; of other modules' functions no more than the names."""
    for name in _names(function.__code__):
        value = function.__globals__.get(name, function)
        if isinstance(value, FunctionType) and value.__globals__ is not function.__globals__:
            yield name, f"{value.__module__}.{value.__qualname__}"
        elif value is not function:
            yield name, value


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
