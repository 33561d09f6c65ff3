"""An SQLite file that this package owns: opening, checking whose it is, migrating its schema, and writing."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.atomic_io import check_writable
from rolesum.errors import DataError, ResourceError, RolesumError
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

    Raises DataError for a file of another kind or of a newer version, ResourceError if it cannot be opened, read or
    written, and if it was deleted, replaced or truncated since it was opened: what is saved then would be lost.
    """

    def __init__(self, path: Path | None, schema: Schema, *, fix: str, timeout: float = 10.0) -> None:
        """Open the file, creating or migrating it.

        `fix` tells the user of an error how to name another file. `timeout` is how many seconds to wait while another
        thread or process writes.
        """
        self.path, self._schema, self._fix, self._timeout = path, schema, fix, timeout
        self._lock = threading.RLock()
        self._failure: RolesumError | None = None  # of the last access, if it may stay
        self._is_damaged = False
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
            self._files = _OpenFiles(path) if path else None
        except (sqlite3.OperationalError, OSError) as error:
            given = "check the path and the permissions"
            raise os_error(error, f"cannot open the {schema.contents}", where, given, then=f"or {fix}") from None
        except sqlite3.DatabaseError as error:
            raise DataError(f"not a file of {schema.contents}: {error}", where, fix) from None

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a SELECT, which sees no half-written transaction. Raises ResourceError."""
        with self._access("read"):
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write everything inside the block or nothing. Raises ResourceError if it cannot be written."""
        with self._access("save"):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    with suppress(sqlite3.Error):  # the error that led here says more
                        self._connection.execute("ROLLBACK")
        self._failure = None

    def check(self, timeout: float = 1.0) -> None:
        """Raise ResourceError unless the file can be read and written now; `timeout` is in seconds.

        After a failure something is written, to see whether a full disk has space again; damage stays until the file
        is opened again.
        """
        with self._access("use", timeout):
            self._connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
            try:
                self._read_begin()
                with self.transaction():
                    if self._failure:
                        self._connection.execute(f"PRAGMA user_version = {self._pragma('user_version')}")
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")

    def truncate_log(self) -> None:
        """Empty the write-ahead log, which holds deleted rows until then. Raises ResourceError."""
        with self._access("save"):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _access(self, verb: str, timeout: float | None = None) -> Iterator[None]:
        """Use the connection alone. Raises ResourceError for every error of SQLite in the block."""
        contents, where = self._schema.contents, str(self.path or "memory")
        if not self._lock.acquire(timeout=self._timeout if timeout is None else timeout):
            what = f"cannot {verb} the {contents}: other accesses have not ended in time"
            raise ResourceError(what, where, "try again later; another process may keep the file locked")
        try:
            if self._is_damaged and self._failure:  # what is left of it may be wrong
                raise self._failure
            if change := self._change():
                self._is_damaged = True
                fix = f"put the file back or restore a backup, then start again, or {self._fix}"
                self._failure = ResourceError(f"cannot {verb} the {contents}: {change}", where, fix)
                raise self._failure
            yield
        except sqlite3.Error as error:
            is_damage = type(error) is sqlite3.DatabaseError  # its subclasses are locks, full disks, constraints
            what = f"cannot {verb} the {contents}"
            failure = os_error(error, what, where, "check the permissions", then="then try again")
            if is_damage:
                failure = ResourceError(f"{what}: {error}", where, f"restore a backup of the file, or {self._fix}")
            if is_damage or isinstance(error, sqlite3.OperationalError):
                self._failure, self._is_damaged = failure, self._is_damaged or is_damage
            raise failure from None
        finally:
            self._lock.release()

    def _change(self) -> str:
        """Say what others did to the file since it was opened; empty if it can still be used."""
        if not self._files:
            return ""
        if not (change := self._files.change()) and self._files.was_written() and not self._connection.in_transaction:
            self._read_begin()
        return change

    def _read_begin(self) -> None:
        """Read the begin of the file itself, not what is kept of it in memory. Raises sqlite3.Error."""
        self._connection.execute("PRAGMA shrink_memory")
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

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


class _OpenFiles:
    """What a database's files were when last seen, to notice that others changed them.

    They are never opened for this: closing a file drops the locks that SQLite has on it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._log = path, path.with_name(f"{path.name}-wal")
        self._seen = {path: path.stat()}
        self._was_written = False

    def change(self) -> str:
        """Say what happened to the files; empty if nothing did. The write-ahead log exists from the first write on."""
        for path in (self._path, self._log):
            before, now = self._seen.get(path), _stat(path)
            if before and now is None:
                return f"{path.name} was deleted while it was open"
            if before and now and (before.st_dev, before.st_ino) != (now.st_dev, now.st_ino):
                return f"{path.name} was replaced by another file while it was open"
            if before and now and path == self._path:
                if now.st_size < before.st_size:
                    return f"{path.name} was truncated from {before.st_size:,} to {now.st_size:,} bytes"
                self._was_written |= now.st_mtime_ns != before.st_mtime_ns
            if now:
                self._seen[path] = now
        return ""

    def was_written(self) -> bool:
        """Whether the database was written, by SQLite or by others, since this was last asked."""
        was_written, self._was_written = self._was_written, False
        return was_written


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
