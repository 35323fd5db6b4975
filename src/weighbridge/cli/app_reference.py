"""An app as ``module:name``, and looking it up in a process of its own, which alone imports the user's code.

``python -m weighbridge.cli.app_reference MODULE:NAME`` is for ``weighbridge dev``. It exits with 0 if the app is there,
and with 2 if not, after saying why on standard error.
"""

from __future__ import annotations

import difflib
import os
import sys
import threading
import traceback
from types import ModuleType
from typing import Final

from starlette.applications import Starlette

from weighbridge.errors import ModuleError, WeighbridgeError
from weighbridge.worker.modules import explained, import_modules, is_machinery, put_current_directory_first

REFUSED: Final = 2
#: Seconds that a thread which the user's module has started may hold up the end of the process.
LEAVE_S: Final = 1.0


def find_app(reference: str) -> object:
    """The app that ``module:name`` stands for; the name may have dots, as for uvicorn.

    :raises ModuleError: if the module cannot be imported, or holds no such thing, or one that cannot be called.
    :raises WeighbridgeError: as the module's own use of this package raised it.
    """
    module_name, _, path = reference.partition(":")
    (module,) = import_modules([module_name])
    value: object = module
    for attribute in path.split("."):
        if not hasattr(value, attribute):
            raise ModuleError(module=module_name, problem=f"has no {path!r}", remedy=_meant(module, path))
        value = getattr(value, attribute)
    if not callable(value):
        problem = f"holds in {path!r} a value of type {type(value).__name__}, which is no app"
        raise ModuleError(module=module_name, problem=problem, remedy=_meant(module, path))
    return value


def _meant(module: ModuleType, path: str) -> str:
    """The app that is probably meant, or how to name one."""
    apps = [name for name, value in vars(module).items() if isinstance(value, Starlette)]
    close = difflib.get_close_matches(path, apps, n=1) or (apps if len(apps) == 1 else [])
    if close:
        return f"did you mean {module.__name__}:{close[0]}?"
    if apps:
        return f"the apps there are {', '.join(f'{module.__name__}:{name}' for name in apps)}"
    return "no variable there holds a FastAPI or Starlette app; name the one that does, as in app.main:app"


def _users_traceback(error: BaseException) -> str:
    """A traceback from the first line that is the user's on, or nothing if none is."""
    shown = traceback.TracebackException.from_exception(error)
    frames = list(shown.stack)
    while frames and is_machinery(frames[0]):
        del frames[0]
    if not frames and not isinstance(error, SyntaxError):
        return ""
    shown.stack = traceback.StackSummary.from_list(frames)
    return "".join(shown.format())


def main() -> int:
    """Look up the app of the command line; the exit code."""
    put_current_directory_first()
    try:
        find_app(sys.argv[1])
    except WeighbridgeError as error:
        if isinstance(error, ModuleError) and error.__cause__ is not None:
            sys.stderr.write(_users_traceback(error.__cause__))
        sys.stderr.write(f"Error: {explained(error)}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that the user's module has started, and that does not end, must not keep this process.
    leaving = threading.Timer(LEAVE_S, os._exit, [status])
    leaving.daemon = True
    leaving.start()
    sys.exit(status)
