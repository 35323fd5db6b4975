"""The settings file: the table ``[tool.weighbridge]`` of the nearest pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import SettingsError

NAME: Final = "pyproject.toml"
TABLE: Final = ("tool", "weighbridge")
#: pyproject.toml stands at the project's root, and a service may be started from a folder below it.
FOLDERS_ABOVE: Final = 3


def file_settings() -> dict[str, Any]:
    """The table, from the current folder's file or that of the nearest of three folders above; empty if none has one.

    What cannot be looked at is not there: in a folder that is gone, or that may not be traversed.

    :raises SettingsError: if the file cannot be read, with its path, the place and what to do.
    """
    file = next((folder / NAME for folder in _folders() if _is_there(folder / NAME)), None)
    return {} if file is None else _table(_parsed(file), file)


def _folders() -> tuple[Path, ...]:
    try:
        here = Path.cwd()
    except OSError:
        return ()
    return (here, *here.parents[:FOLDERS_ABOVE])


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False


def _parsed(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _refused(
            file, f"cannot be opened ({error.strerror or error})", "make it readable for this process"
        ) from error
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # editors on Windows put a mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        place = f"the byte 0x{content[error.start]:02x} in line {line}"
        raise _refused(file, f"is not UTF-8 ({place})", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _refused(file, f"is not TOML ({error})", "correct it there") from None
    except RecursionError:
        raise _refused(file, "is nested too deep", "close its brackets") from None
    except ValueError:  # the other thing that tomllib leaves to int()
        raise _refused(file, "has a number of thousands of digits", "write a shorter one") from None


def _table(content: dict[str, Any], file: Path) -> dict[str, Any]:
    table = content
    for depth, key in enumerate(TABLE, 1):
        value = table.get(key, {})
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise _refused(
                file,
                f"holds in `{'.'.join(TABLE[:depth])}` {'an' if kind[0] in 'aeiou' else 'a'} {kind}",
                f"write its settings below the line [{'.'.join(TABLE)}]",
            )
        table = value
    return table


def _refused(file: Path, problem: str, remedy: str) -> SettingsError:
    return SettingsError(setting=f"[{'.'.join(TABLE)}]", problem=f"cannot be read: {file} {problem}", remedy=remedy)
