"""The annotators' judgments in one SQLite file. A changed answer is a new row; the last row of a question counts."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.errors import DataError, ResourceError, UsageError
from rolesum.sqlite_store import Schema, SQLiteStore

MAX_NAME_LENGTH = 60
PREFERENCE = "preference"  # the criterion of mode prefer

_FIX = "name another --store"
_SCHEMA = Schema(
    contents="judgments",
    application_id=0x726F6C65,  # "role"
    migrations=(
        """
        CREATE TABLE study (record TEXT NOT NULL);
        CREATE TABLE annotators (key TEXT PRIMARY KEY, name TEXT NOT NULL, at TEXT NOT NULL);
        CREATE TABLE answers (
          number INTEGER PRIMARY KEY AUTOINCREMENT, annotator TEXT NOT NULL REFERENCES annotators (key),
          dialogue TEXT NOT NULL, role TEXT NOT NULL, system TEXT NOT NULL, other TEXT NOT NULL,
          criterion TEXT NOT NULL, value INTEGER NOT NULL, label TEXT NOT NULL, at TEXT NOT NULL
        );
        CREATE INDEX answers_of ON answers (annotator, dialogue);
        """,
    ),
)


@dataclass(frozen=True, slots=True)
class Judgment:
    """One answer of one annotator.

    In mode rate `value` is the rating of `system`, and `other` is empty. In mode prefer `value` is 1 if `system` is
    better than `other`, -1 if it is worse, 0 for a tie. `label` is the letter under which the annotator saw `system`;
    `at` is the time in UTC.
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
        """The question that is answered; several annotators may answer the same one."""
        return self.dialogue, self.role, self.system, self.other, self.criterion


class AnnotationStore:
    """The open file, created if it does not exist. Several threads and processes may use it at once.

    Raises DataError for a file of another kind, ResourceError if it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = SQLiteStore(path, _SCHEMA, fix=_FIX)

    def close(self) -> None:
        self._database.close()

    def study_record(self) -> Mapping[str, Any] | None:
        """Return what `begin_study` saved; None in a new store. Raises DataError if it is broken."""
        try:
            rows = self._database.query("SELECT record FROM study")
            found = json.loads(rows[0][0]) if rows else None
        except (ResourceError, ValueError) as error:
            raise self._broken(error) from None
        if found is not None and not (isinstance(found, dict) and {"settings", "systems"} <= found.keys()):
            raise DataError("the store's record of its study is broken", str(self.path), _FIX)
        return found

    def begin_study(self, record: Mapping[str, Any]) -> None:
        """Save the record of the study whose judgments this store will hold."""
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO study VALUES (?)", (strict_json.dumps(record, ensure_ascii=False),))

    def register_annotator(self, name: str) -> str:
        """Add the annotator if new; return the name as first written.

        Names that differ in case or spaces only are one annotator. Raises UsageError for an unusable name.
        """
        name = " ".join(unicodedata.normalize("NFC", name).split())
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable() or not name[0].isalnum():
            what = f"a name has 1 to {MAX_NAME_LENGTH} characters and begins with a letter or a digit"
            raise UsageError(what, fix="give another name")
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO annotators VALUES (?, ?, ?)", (name.casefold(), name, _now()))
        return self.annotator_name(name)

    def annotator_name(self, name: str) -> str:
        """Return the registered annotator's name as first written. Raises UsageError for an unknown one."""
        found = self._database.query("SELECT name FROM annotators WHERE key = ?", (name.casefold(),))
        if not found:
            raise UsageError("no annotator is registered under this name", fix="reload the page")
        return str(found[0][0])

    def add(self, judgment: Judgment) -> None:
        """Save an answer to disk; an earlier answer to the same question no longer counts."""
        row = (judgment.annotator.casefold(), *judgment.unit, judgment.value, judgment.label, _now())
        with self._database.transaction() as connection:
            connection.execute("INSERT INTO answers VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def undo(self, annotator: str) -> Judgment | None:
        """Delete and return the annotator's last answer; the one before it to the same question counts again."""
        with self._database.transaction() as connection:
            last = "SELECT max(number) FROM answers WHERE annotator = ?"
            (number,) = connection.execute(last, (annotator.casefold(),)).fetchone()
            if number is None:
                return None
            (deleted,) = self._read("WHERE number = ?", number)
            connection.execute("DELETE FROM answers WHERE number = ?", (number,))
        return deleted

    def judgments(self, annotator: str | None = None, dialogue: str | None = None) -> list[Judgment]:
        """Return the answers that count, in the order first given: all, or one annotator's, or one dialogue's."""
        filters = {"annotator": annotator.casefold() if annotator is not None else None, "dialogue": dialogue}
        chosen = {column: value for column, value in filters.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in chosen)
        rows = self._read(f"WHERE {where}" if where else "", *chosen.values())
        return list({(one.annotator, one.unit): one for one in rows}.values())

    def _read(self, where: str, *values: Any) -> list[Judgment]:
        columns = "annotators.name, dialogue, role, system, other, criterion, value, label, answers.at"
        tables = "answers JOIN annotators ON annotators.key = answers.annotator"
        try:
            rows = self._database.query(f"SELECT {columns} FROM {tables} {where} ORDER BY number", values)
        except ResourceError as error:
            raise self._broken(error) from None
        return [Judgment(*row) for row in rows]

    def _broken(self, error: Exception) -> DataError:
        what = error.problems[0].what if isinstance(error, ResourceError) else error
        return DataError(f"the store is broken: {what}", str(self.path), _FIX)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
