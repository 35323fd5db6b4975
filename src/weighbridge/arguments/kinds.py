"""The kinds of types that cannot cross a process, and what to pass instead of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import Secret, SecretBytes, SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Why values of a type stay in their process (completes "of type X, which …"), and what to pass instead."""

    why: str
    instead: str


_OF_REQUEST: Final = Kind(why="ends with its request", instead="pass the values that the task needs from it")
_CONNECTION: Final = Kind(why="is open in this process only", instead="open one inside the task, and pass ids")
_ROW: Final = Kind(why="is bound to its database session", instead="pass its id, and load it inside the task")
_FILE: Final = Kind(why="is open in this process only", instead="store the content, and pass its path or key")
_APP: Final = Kind(why="exists in this process only", instead="import it inside the task, or pass the values it needs")
CODE: Final = Kind(why="is code, not a value", instead="pass its name, or the values that decide")
ONCE: Final = Kind(why="can be read only once, and here", instead="pass a list, and annotate it as one")
_RUNNING: Final = Kind(why="is running in this process", instead="pass its result")
_SECRET: Final = Kind(
    why="is written as asterisks", instead="keep it where the worker can read it, and pass what it is filed under"
)
_VARIABLE: Final = Kind(why="leaves open what is passed", instead="annotate it with the type that is passed")
CLOCK: Final = Kind(
    why="is valid until a moment that may pass before the call runs", instead="annotate it as a plain date or datetime"
)
KEYS: Final = Kind(why="JSON has no word for", instead="pass a list of pairs, or use keys that are text or numbers")
UNKNOWN: Final = Kind(
    why="cannot be written as JSON", instead="pass the values that the task needs, or declare a pydantic model of them"
)

#: By top-level package and class name of any ancestor, so that none of these packages is imported here.
_BY_ANCESTOR: Final = {
    "starlette.HTTPConnection": _OF_REQUEST,
    "starlette.Response": _OF_REQUEST,
    "starlette.BackgroundTask": _OF_REQUEST,
    "starlette.UploadFile": Kind(
        why="is closed with its request", instead="read it, store the content, and pass its path or key"
    ),
    "starlette.Starlette": _APP,
    "weighbridge.Dispatcher": _APP,
    "sqlalchemy.Session": _CONNECTION,
    "sqlalchemy.AsyncSession": _CONNECTION,
    "sqlalchemy.Engine": _CONNECTION,
    "sqlalchemy.AsyncEngine": _CONNECTION,
    "sqlalchemy.Connection": _CONNECTION,
    "sqlalchemy.AsyncConnection": _CONNECTION,
    "django.Model": _ROW,
    "peewee.Model": _ROW,
    "tortoise.Model": _ROW,
    "_io._IOBase": _FILE,
    "io.IOBase": _FILE,
    "typing.IO": _FILE,
    "_socket.socket": _CONNECTION,
    "logging.Logger": Kind(why="writes for this process", instead="get one inside the task"),
    "collections.Callable": CODE,
    "builtins.function": CODE,
    "builtins.type": CODE,
    "collections.Collection": Kind(why="does not say which collection arrives", instead="annotate it as a list"),
    "collections.Iterable": ONCE,
    "collections.AsyncIterable": ONCE,
    "collections.Awaitable": _RUNNING,
    "_asyncio.Future": _RUNNING,
    "concurrent.Future": _RUNNING,
    "builtins.bytearray": Kind(why="cannot be written as JSON", instead="pass bytes"),
    "builtins.memoryview": Kind(why="cannot be written as JSON", instead="pass bytes"),
}
#: Ancestors that pydantic would take, and whose values do not survive all the same.
_TAKEN_WRONGLY: Final = frozenset(
    {
        "starlette.HTTPConnection",
        "starlette.Response",
        "starlette.BackgroundTask",
        "starlette.UploadFile",
        "starlette.Starlette",
        "weighbridge.Dispatcher",
    }
)
_CONNECTION_NAMES: Final = ("Session", "Engine", "Connection", "Client", "Pool", "Cursor", "Transaction")


def kind_of(cls: Any) -> Kind:
    """The kind of a type of which it is known that it cannot cross."""
    if isinstance(cls, TypeVar):
        return _VARIABLE
    if _is_row(cls):
        return _ROW
    for ancestor in _ancestors(cls):
        if ancestor in _BY_ANCESTOR:
            return _BY_ANCESTOR[ancestor]
    return _CONNECTION if getattr(cls, "__name__", "").endswith(_CONNECTION_NAMES) else UNKNOWN


def refused_kind(cls: Any, *, direct: bool) -> Kind | None:
    """The kind of a type that pydantic itself would take, and that cannot cross; ``None`` if it may.

    ``direct``: it stands in the signature, not inside a model, which might write its secrets out.
    """
    if isinstance(cls, TypeVar):
        return _VARIABLE if direct else None
    if not isinstance(cls, type):
        return None
    if _is_row(cls):
        return _ROW
    if direct and issubclass(cls, SecretStr | SecretBytes | Secret):
        return _SECRET
    return next((_BY_ANCESTOR[each] for each in _ancestors(cls) if each in _TAKEN_WRONGLY), None)


def _is_row(cls: Any) -> bool:
    # What SQLAlchemy leaves on a mapped class, SQLModel's tables included.
    return isinstance(cls, type) and (hasattr(cls, "_sa_class_manager") or hasattr(cls, "__mapper__"))


def _ancestors(cls: Any) -> list[str]:
    line = getattr(cls, "__mro__", (cls,))
    return [
        f"{str(getattr(each, '__module__', '')).partition('.')[0]}.{getattr(each, '__name__', '')}" for each in line
    ]
