"""The store in a file: SQLite, which the processes of one machine can share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from weighbridge.errors import SettingsError
from weighbridge.shadow.store import KEPT_DAYS, Delta

SETTING: Final = "shadow_file"
#: What SQLite keeps in the head of a file to tell whose it is (https://www.sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID: Final = 0x57_42_53_48
#: Seconds for which another process may hold the file.
BUSY_S: Final = 2.0

_TABLE: Final = "CREATE TABLE kept (day TEXT, field TEXT, value, PRIMARY KEY (day, field)) WITHOUT ROWID"
_ADDED: Final = "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value"
_FIRST: Final = "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_LAST: Final = "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_OLD: Final = "DELETE FROM kept WHERE day < ?"


class FileStore:
    """Keeps counts in one file. It opens it for each exchange, and so needs no closing.

    :param path: The file. :meth:`add` and :meth:`check` make it; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        """Make the file if there is none, and see whether it can be written.

        :raises SettingsError: if it cannot, or is a file of another program, which is not touched.
        """
        with self._opened():
            pass

    def add(self, delta: Delta) -> None:
        """As :class:`ShadowStore` says.

        :raises SettingsError: if the file cannot be written.
        """
        day = delta.day.isoformat()
        with self._opened() as connection:
            known = connection.execute(
                "SELECT value FROM kept WHERE day = ? AND field = ?", (day, delta.writer)
            ).fetchone()
            if known is not None and known[0] >= delta.number:
                return
            connection.executemany(_ADDED, [(day, *each) for each in delta.added.items()])
            connection.executemany(_FIRST, [(day, *each) for each in delta.first.items()])
            connection.executemany(_LAST, [(day, *each) for each in delta.last.items()])
            connection.execute(_LAST, (day, delta.writer, delta.number))
            connection.execute(_OLD, ((delta.day - timedelta(days=KEPT_DAYS - 1)).isoformat(),))

    def read(self, day: date) -> Mapping[str, str]:
        """As :class:`ShadowStore` says.

        :raises SettingsError: if there is no such file, or it cannot be read.
        """
        if not self._path.is_file():
            raise SettingsError(
                setting=SETTING,
                problem=f"is {str(self._path)!r}, where no file is",
                remedy="start the service with the same setting first, or run this where its file is",
            )
        with self._opened() as connection:
            rows = connection.execute("SELECT field, value FROM kept WHERE day = ?", (day.isoformat(),)).fetchall()
        return {field: str(value) for field, value in rows}

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection in one transaction, which holds the file from its beginning, for it reads before it writes."""
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._claim(connection)
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise SettingsError(
                setting=SETTING,
                problem=f"is {str(self._path)!r}, which cannot be used ({error})",
                remedy="name a file, in a folder that is there, that this process may write, and no other program's",
            ) from error

    def _claim(self, connection: sqlite3.Connection) -> None:
        """Make a new file ours; refuse another program's."""
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        if owner == APPLICATION_ID:
            return
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner or tables:
            raise SettingsError(
                setting=SETTING,
                problem=f"is {str(self._path)!r}, which is another program's database",
                remedy="name a file of its own",
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(_TABLE)
