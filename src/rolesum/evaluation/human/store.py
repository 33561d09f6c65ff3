"""Judgments in one SQLite file: nothing that was answered is lost, nothing is overwritten, the last answer counts."""

import json
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rolesum.atomic_io import check_writable
from rolesum.errors import DataError, ResourceError, UsageError

SCHEMA_VERSION = 1  # of the tables below
APPLICATION_ID = 0x726F6C65  # SQLite's application_id, "role"
MAX_NAME_LENGTH = 60
PREFERENCE = "preference"  # the criterion of mode prefer

_TABLES = """
CREATE TABLE study (record TEXT NOT NULL);
CREATE TABLE annotators (key TEXT PRIMARY KEY, name TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE answers (
  number INTEGER PRIMARY KEY AUTOINCREMENT, annotator TEXT NOT NULL REFERENCES annotators (key),
  dialogue TEXT NOT NULL, role TEXT NOT NULL, system TEXT NOT NULL, other TEXT NOT NULL, criterion TEXT NOT NULL,
  value INTEGER NOT NULL, label TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX answers_of ON answers (annotator, dialogue);
"""


@dataclass(frozen=True, slots=True)
class Judgment:
    """One answer. In mode rate `value` is the rating of `system`, and `other` is empty.

    In mode prefer `value` is 1 where `system` is better than `other`, -1 where it is worse, 0 for a tie. `label` is the
    letter under which the annotator saw `system`; `at` is UTC.
    """

    annotator: str
    dialogue: str
    role: str
    system: str
    other: str
    criterion: str
    value: int
    label: str
    at: str = ""

    @property
    def unit(self) -> tuple[str, str, str, str, str]:
        """What several annotators may judge alike."""
        return self.dialogue, self.role, self.system, self.other, self.criterion


class AnnotationStore:
    """The file, opened; made where there is none. Several threads and processes may use it at once.

    Raises DataError for a file of another kind, ResourceError where it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        check_writable(path)
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            self._prepare()
        except sqlite3.OperationalError as error:
            raise ResourceError(f"cannot open: {error}", str(path), "check permissions and free disk space") from None
        except (sqlite3.DatabaseError, OSError) as error:
            raise DataError(f"no store of judgments: {error}", str(path), "name another --store") from None

    def close(self) -> None:
        self._file.close()

    def study_record(self) -> Mapping[str, Any] | None:
        """What Study.record left here; None in a new store."""
        try:
            row = self._file.execute("SELECT record FROM study").fetchone()
            found = json.loads(row[0]) if row else None
        except (sqlite3.DatabaseError, ValueError) as error:
            raise DataError(f"the store is broken: {error}", str(self.path), "name another --store") from None
        if found is not None and not (isinstance(found, dict) and {"settings", "systems"} <= found.keys()):
            raise DataError("the store's record of its study is broken", str(self.path), "name another --store")
        return found

    def begin_study(self, record: Mapping[str, Any]) -> None:
        """Keep the record of the study whose judgments this store will hold."""
        with self._writing() as file:
            file.execute("INSERT INTO study VALUES (?)", (json.dumps(record, ensure_ascii=False),))

    def register_annotator(self, name: str) -> str:
        """The annotator of this name, as first written; case and spaces do not tell two apart. Raises UsageError."""
        name = " ".join(unicodedata.normalize("NFC", name).split())
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable() or not name[0].isalnum():
            what = f"a name has 1 to {MAX_NAME_LENGTH} characters and begins with a letter or a digit"
            raise UsageError(what, fix="give another name")
        with self._writing() as file:
            file.execute("INSERT OR IGNORE INTO annotators VALUES (?, ?, ?)", (name.casefold(), name, _now()))
        return self.annotator_name(name)

    def annotator_name(self, name: str) -> str:
        """The annotator of this name. Raises UsageError where nobody entered under it."""
        found = self._file.execute("SELECT name FROM annotators WHERE key = ?", (name.casefold(),)).fetchone()
        if not found:
            raise UsageError("nobody began under this name", fix="reload the page")
        return str(found[0])

    def add(self, one: Judgment) -> None:
        """Write an answer to the disk; an earlier one to the same question no longer counts."""
        row = (one.annotator.casefold(), *one.unit, one.value, one.label, _now())
        with self._writing() as file:
            file.execute("INSERT INTO answers VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def undo(self, annotator: str) -> Judgment | None:
        """Take back and return the annotator's last answer; the one before it to the same question counts again."""
        with self._writing() as file:
            last = "SELECT max(number) FROM answers WHERE annotator = ?"
            (number,) = file.execute(last, (annotator.casefold(),)).fetchone()
            if number is None:
                return None
            (taken,) = self._read("WHERE number = ?", number)
            file.execute("DELETE FROM answers WHERE number = ?", (number,))
        return taken

    def judgments(self, annotator: str | None = None, dialogue: str | None = None) -> list[Judgment]:
        """The answers that count, in the order first given: all, or those of one annotator or to one dialogue."""
        asked = {"annotator": annotator.casefold() if annotator is not None else None, "dialogue": dialogue}
        chosen = {column: value for column, value in asked.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in chosen)
        rows = self._read(f"WHERE {where}" if where else "", *chosen.values())
        return list({(one.annotator, one.unit): one for one in rows}.values())

    def _read(self, where: str, *values: Any) -> list[Judgment]:
        columns = "annotators.name, dialogue, role, system, other, criterion, value, label, answers.at"
        joined = "answers JOIN annotators ON annotators.key = answers.annotator"
        asked = f"SELECT {columns} FROM {joined} {where} ORDER BY number"
        with self._lock:  # never in the middle of another thread's writing
            try:
                rows: Sequence[Any] = self._file.execute(asked, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise DataError(f"the store is broken: {error}", str(self.path), "name another --store") from None
        return [Judgment(*row) for row in rows]

    def _prepare(self) -> None:
        (tables,) = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (mark,) = self._file.execute("PRAGMA application_id").fetchone()
        (form,) = self._file.execute("PRAGMA user_version").fetchone()
        if tables and (mark, form) != (APPLICATION_ID, SCHEMA_VERSION):
            newer = "a newer rolesum made it" if mark == APPLICATION_ID else "it is another program's database"
            raise sqlite3.DatabaseError(newer)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")  # an answer outlives a power cut too
        if not tables:
            self._file.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                yield self._file
                self._file.execute("COMMIT")
            except sqlite3.Error as error:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                fix = "check the disk and permissions, and answer again"
                raise ResourceError(f"the answer is not saved: {error}", str(self.path), fix) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
