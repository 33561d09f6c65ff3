"""An SQLite file that this package owns: opening, checking whose it is, migrating its schema, and writing."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.atomic_io import check_writable
from rolesum.errors import DataError
from rolesum.os_errors import os_error


@dataclass(frozen=True)
class Schema:
    """The tables of one kind of file. Its version, kept in `PRAGMA user_version`, is the number of its migrations."""

    contents: str
    """What the file holds, for error messages: "judgments"."""
    application_id: int
    """Marks the file as one of this kind (`PRAGMA application_id`)."""
    migrations: tuple[str, ...]
    """SQL statements, separated by semicolons; number n takes version n to n + 1. The first creates the tables."""
    pragmas: tuple[str, ...] = ("journal_mode = WAL", "synchronous = FULL")
    """Set on every connection. With these two, what is committed outlives a power failure."""


class SQLiteStore:
    """An open SQLite file, or a database in memory if `path` is None. Threads of one process may share it.

    Raises DataError for a file of another kind or of a newer version, ResourceError if it cannot be opened or written.
    """

    def __init__(self, path: Path | None, schema: Schema, *, fix: str, timeout: float = 10.0) -> None:
        """Open the file, creating or migrating it.

        `fix` tells the user of an error how to name another file. `timeout` is how many seconds to wait while another
        process writes.
        """
        self.path, self._schema, self._fix = path, schema, fix
        self._lock = threading.RLock()
        where = str(path or "memory")
        try:
            if path is not None:
                check_writable(path)
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path or ":memory:", timeout=timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.OperationalError, OSError) as error:
            given = "check the path and the permissions"
            raise os_error(error, f"cannot open the {schema.contents}", where, given, then=f"or {fix}") from None
        except sqlite3.DatabaseError as error:
            raise DataError(f"not a file of {schema.contents}: {error}", where, fix) from None

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a SELECT, which sees no half-written transaction. Raises sqlite3.Error."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write everything inside the block or nothing. Raises ResourceError if it cannot be written."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                what, fix = f"cannot save the {self._schema.contents}", "check the permissions"
                raise os_error(error, what, str(self.path), fix, then="then try again") from None
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def truncate_log(self) -> None:
        """Empty the write-ahead log, which holds deleted rows until then."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and self._pragma("application_id") != self._schema.application_id:
            raise sqlite3.DatabaseError("it is another program's database")
        latest, found = len(self._schema.migrations), self._pragma("user_version")
        if tables and found > latest:
            raise sqlite3.DatabaseError("a newer version of rolesum made it")
        for pragma in self._schema.pragmas:
            self._connection.execute(f"PRAGMA {pragma}")
        if found < latest:
            self._migrate()

    def _migrate(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for migration in self._schema.migrations[self._pragma("user_version") :]:
                for statement in filter(str.strip, migration.split(";")):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {self._schema.application_id}")
            self._connection.execute(f"PRAGMA user_version = {len(self._schema.migrations)}")
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
