"""The store in a file: SQLite, which the processes of one machine can share."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from weighbridge.errors import SettingsError
from weighbridge.shadow.store import BEYOND, KEPT_DAYS, MOST_FIELDS, Delta

SETTING: Final = "shadow_file"
#: What SQLite keeps in the head of a file to tell whose it is (https://www.sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID: Final = 0x57_42_53_48
#: Seconds for which another process may hold the file.
BUSY_S: Final = 2.0

_TABLE: Final = "CREATE TABLE kept (day TEXT, field TEXT, value, PRIMARY KEY (day, field)) WITHOUT ROWID"
#: With the columns, for which SQLite 3.24 of 2018 is enough.
_SET: Final = "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT (day, field) DO UPDATE SET value = "
_ADD: Final = f"{_SET} value + excluded.value"
_LOWEST: Final = f"{_SET} min(value, excluded.value)"
_HIGHEST: Final = f"{_SET} max(value, excluded.value)"
_NAMED: Final = f"{_SET} excluded.value"
_NEEDED: Final = (3, 24)


class FileStore:
    """Keeps counts in one file. It opens it for each exchange, and so needs no closing.

    :param path: The file; a relative one is in what is the current folder now. :meth:`add` and :meth:`check` make
        it; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def __str__(self) -> str:
        return str(self._path)

    def check(self) -> None:
        """Make the file if there is none, and see whether it can be written. One that is held meanwhile is there.

        :raises SettingsError: if it cannot, or is a file of another program, which is not touched.
        """
        if sqlite3.sqlite_version_info < _NEEDED:
            raise self._unusable(
                f"SQLite here is {sqlite3.sqlite_version}, and 3.24 is needed", "use a Python with a later one"
            )
        try:
            with self._opened():
                pass
        except SettingsError as error:
            if not _is_busy(error.__cause__):
                raise

    def add(self, delta: Delta) -> None:
        """As :class:`ShadowStore` says.

        :raises SettingsError: if the file cannot be written.
        """
        day = delta.day.isoformat()
        with self._opened() as connection:
            if self._number(connection, day, delta.writer) >= delta.number:
                return
            for statement, fields in (
                (_LOWEST, delta.lowest),
                (_HIGHEST, delta.highest),
                (_NAMED, delta.named),
                (_ADD, delta.added),
            ):
                self._put(connection, day, statement, fields)
            connection.execute(_NAMED, (day, delta.writer, delta.number))
            oldest = delta.day - timedelta(days=KEPT_DAYS - 1)
            connection.execute("DELETE FROM kept WHERE day < ?", (oldest.isoformat(),))

    def read(self, day: date) -> Mapping[str, str]:
        """As :class:`ShadowStore` says.

        :raises SettingsError: if there is no such file, or it cannot be read.
        """
        try:  # what a process that was killed has left half written can only be undone by one who may write
            return self._read(day, mode="rw")
        except SettingsError as error:
            if not isinstance(error.__cause__, sqlite3.OperationalError):
                raise
        return self._read(day, mode="ro")

    def _read(self, day: date, *, mode: str) -> Mapping[str, str]:
        with self._opened(mode=mode) as connection:
            rows = connection.execute("SELECT field, value FROM kept WHERE day = ?", (day.isoformat(),)).fetchall()
        return {field: str(value) for field, value in rows}

    def _number(self, connection: sqlite3.Connection, day: str, writer: str) -> int:
        found = connection.execute("SELECT value FROM kept WHERE day = ? AND field = ?", (day, writer)).fetchone()
        return 0 if found is None else int(found[0])

    def _put(
        self, connection: sqlite3.Connection, day: str, statement: str, fields: Mapping[str, int] | Mapping[str, str]
    ) -> None:
        (there,) = connection.execute("SELECT count(*) FROM kept WHERE day = ?", (day,)).fetchone()
        known = "SELECT 1 FROM kept WHERE day = ? AND field = ?"
        for field, value in fields.items():
            is_new = connection.execute(known, (day, field)).fetchone() is None
            there += is_new
            if not is_new or there <= MOST_FIELDS:
                connection.execute(statement, (day, field, value))
            elif statement is _ADD:
                connection.execute(statement, (day, BEYOND, value))

    @contextmanager
    def _opened(self, *, mode: str = "rwc") -> Iterator[sqlite3.Connection]:
        """A connection in one transaction; one that makes the file holds it from its beginning, for it reads first."""
        try:
            target = f"{self._path.as_uri()}?mode={mode}"
            with closing(sqlite3.connect(target, uri=True, timeout=BUSY_S, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE" if mode == "rwc" else "BEGIN")
                self._claim(connection, makes=mode == "rwc")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._refusal(error, makes=mode == "rwc") from error

    def _claim(self, connection: sqlite3.Connection, *, makes: bool) -> None:
        """Make a new file ours; refuse another program's."""
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        if owner == APPLICATION_ID:
            return
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner or tables:
            raise self._unusable("it is another program's file", "name a file of its own")
        if not makes:
            raise self._unusable("it is empty", "wait until the service has written")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(_TABLE)

    def _refusal(self, error: sqlite3.Error, *, makes: bool) -> SettingsError:
        if _is_busy(error):
            return self._unusable(f"another process holds it ({error})", "let that one end, and try again")
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return self._unusable(f"there is no room for it ({error})", "make room on the disk")
        if not makes and not os.path.lexists(self._path):
            return self._unusable(
                "there is no such file", "start the service with the same setting first, or run this where its file is"
            )
        return self._unusable(
            f"it cannot be used ({error})",
            "name a file, in a folder that is there, that this process may write, and no other program's",
        )

    def _unusable(self, problem: str, remedy: str) -> SettingsError:
        return SettingsError(setting=SETTING, problem=f"is {str(self._path)!r}, and {problem}", remedy=remedy)


def _is_busy(error: BaseException | None) -> bool:
    # The low byte is the kind of error: https://www.sqlite.org/rescode.html#primary_result_codes_versus_extended_result_codes
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
