"""The judge's answers in one SQLite file, each written as it comes, so that a stopped run loses none."""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from rolesum.atomic_io import check_writable
from rolesum.errors import DataError, ResourceError
from rolesum.evaluation.llm_judge.endpoint import JudgeAnswer

APPLICATION_ID = 0x6A756467  # SQLite's application_id, "judg"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS answers"
    " (key TEXT PRIMARY KEY, text TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER)"
)


def cache_key(*parts: Any) -> str:
    """sha256 of what the answer depends on."""
    whole = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


class JudgeCache:
    """Usable answers by key; without a path, in memory. Raises DataError for another kind of file, ResourceError."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None:
            check_writable(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(path or ":memory:", timeout=30, isolation_level=None)
            (tables,) = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (mark,) = self._file.execute("PRAGMA application_id").fetchone()
            if tables and mark != APPLICATION_ID:
                raise sqlite3.DatabaseError("it is another program's database")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute(_TABLE)
            self._file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        except sqlite3.OperationalError as error:
            raise ResourceError(f"cannot open: {error}", str(path), "check permissions and free disk space") from None
        except sqlite3.DatabaseError as error:
            raise DataError(f"no cache of a judge: {error}", str(path), "name another file") from None

    def get(self, key: str) -> JudgeAnswer | None:
        row = self._file.execute(
            "SELECT text, prompt_tokens, completion_tokens FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return JudgeAnswer(*row) if row else None

    def put(self, key: str, answer: JudgeAnswer) -> None:
        row = (key, answer.text, answer.prompt_tokens, answer.completion_tokens)
        try:
            self._file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise ResourceError(f"an answer cannot be kept: {error}", str(self.path), "free some disk space") from None

    def close(self) -> None:
        self._file.close()
