"""The user's modules: importing those that declare tasks, and finding the dispatcher in them."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from weighbridge.dispatcher import Dispatcher
from weighbridge.errors import ModuleError, SeveralDispatchersError, WeighbridgeError

DOTTED_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
#: The folder of this package.
OURS: Final = Path(__file__).parents[1]


def put_current_directory_first() -> None:
    """Let modules be found from the current directory before anywhere else, as ``python -m`` does."""
    here = str(Path.cwd())
    if sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)


def import_modules(names: Iterable[str]) -> list[ModuleType]:
    """Import each module.

    :raises ModuleError: for the first that cannot be imported, with what happened and where.
    :raises WeighbridgeError: as the module's own use of this package raised it, with a note that says where.
    """
    return [_import(name) for name in names]


def explained(error: WeighbridgeError) -> str:
    """An error of ours for a person: its message, and below it the notes that it got on its way."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def is_machinery(frame: traceback.FrameSummary) -> bool:
    """Whether a line of a traceback is Python's import system or this package, so no line of the user's."""
    return (
        frame.filename.startswith("<frozen ")
        or frame.filename == importlib.__file__
        or Path(frame.filename).is_relative_to(OURS)
    )


def find_dispatcher(modules: Sequence[ModuleType], *, chosen: str | None) -> tuple[Dispatcher, str]:
    """The dispatcher for these modules' tasks, and where it comes from.

    That is the one named by ``chosen`` (``module:name``), or the only one that the modules hold, or one made
    from the settings.

    :raises ModuleError: if ``chosen`` names no dispatcher.
    :raises SeveralDispatchersError: if the modules hold several and none is chosen.
    :raises SettingsError: if one has to be made and the settings are wrong.
    """
    if chosen is not None:
        return _chosen_dispatcher(chosen), chosen
    places: dict[int, str] = {}
    found: dict[int, Dispatcher] = {}
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, Dispatcher):
                places.setdefault(id(value), f"{module.__name__}:{name}")
                found[id(value)] = value
    if len(found) > 1:
        shown = ", ".join(places.values())
        raise SeveralDispatchersError(
            problem=f"the modules hold {len(found)} dispatchers ({shown}), and a worker serves one",
            remedy=f"choose one: --dispatcher {next(iter(places.values()))}",
        )
    for key, dispatcher in found.items():
        return dispatcher, places[key]
    return Dispatcher(), "settings"


def _chosen_dispatcher(chosen: str) -> Dispatcher:
    module_name, _, path = chosen.partition(":")
    if not module_name or not path:
        raise ModuleError(
            module=chosen,
            problem="is not module:name",
            remedy="name the dispatcher as in --dispatcher app.main:dispatcher",
        )
    value: object = _import(module_name)
    for attribute in path.split("."):
        if not hasattr(value, attribute):
            close = difflib.get_close_matches(attribute, dir(value), n=1)
            hint = f"did you mean {close[0]}?" if close else "name the variable that holds the Dispatcher"
            raise ModuleError(module=module_name, problem=f"has no {path!r}", remedy=hint)
        value = getattr(value, attribute)
    if not isinstance(value, Dispatcher):
        raise ModuleError(
            module=module_name,
            problem=f"holds in {path!r} a {type(value).__name__}, which is no Dispatcher",
            remedy="name the variable that holds the Dispatcher",
        )
    return value


def _import(name: str) -> ModuleType:
    if not DOTTED_NAME.fullmatch(name):
        raise ModuleError(module=name, problem="is not a module's name", remedy=_spelling(name))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that is there and misses another one is a different matter.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModuleError(
                module=name, problem=f"is not found from {Path.cwd()}", remedy=_alternatives(name)
            ) from error
        raise _failed(name, error) from error
    except WeighbridgeError as error:
        # A setting, a policy or a declaration: it says by itself what is wrong and what to do.
        error.add_note(f"raised while module {name!r} was imported{_place(error)}")
        raise
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> ModuleError:
    if isinstance(error, SystemExit):
        return ModuleError(
            module=name,
            problem=f"ends the process when it is imported (SystemExit{_place(error)})",
            remedy="keep what runs a program below: if __name__ == '__main__':",
        )
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return ModuleError(
        module=name,
        problem=f"cannot be imported{_place(error)}: {text}",
        remedy=f"mend it until python -c 'import {name}' works here",
    )


def _place(error: BaseException) -> str:
    """The innermost line of a file that was running, import machinery and our own code left out."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_machinery(frame)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _spelling(name: str) -> str:
    """For what is a path or an app's address, the module's name that is probably meant."""
    guess = name.partition(":")[0].removeprefix("./").removesuffix(".py").strip("/").replace("/", ".")
    if DOTTED_NAME.fullmatch(guess):
        return f"did you mean {guess}?"
    return "give a dotted name, as in an import statement"


def _alternatives(name: str) -> str:
    """A module near the current directory with a name like it, or what to do."""
    if name.endswith(".py"):
        return _spelling(name)
    top, _, rest = name.partition(".")
    here = [module.name for module in pkgutil.iter_modules([str(Path.cwd())])]
    close = difflib.get_close_matches(top, here, n=1)
    if close and close[0] != top:
        return f"did you mean {'.'.join([close[0], rest] if rest else close)}?"
    return "start the command in the folder that holds it, or install its package"
