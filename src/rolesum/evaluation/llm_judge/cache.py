"""The judge's answers in one SQLite file, each saved as it arrives, so that an interrupted run loses none."""

import hashlib
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.evaluation.llm_judge.endpoint import JudgeAnswer
from rolesum.sqlite_store import Schema, SQLiteStore

_SCHEMA = Schema(
    contents="answers of a judge",
    application_id=0x6A756467,  # "judg"
    migrations=(
        "CREATE TABLE IF NOT EXISTS answers"
        " (key TEXT PRIMARY KEY, text TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER)",
    ),
    pragmas=("journal_mode = WAL",),
)


def cache_key(*parts: Any) -> str:
    """Return the sha256 of everything that the answer depends on."""
    whole = strict_json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


class JudgeCache:
    """Usable answers by key; in memory if `path` is None. Raises DataError for another kind of file, ResourceError."""

    def __init__(self, path: Path | None) -> None:
        self._database = SQLiteStore(path, _SCHEMA, fix="name another --judge-cache", timeout=30)

    def get(self, key: str) -> JudgeAnswer | None:
        rows = self._database.query("SELECT text, prompt_tokens, completion_tokens FROM answers WHERE key = ?", (key,))
        return JudgeAnswer(*rows[0]) if rows else None

    def put(self, key: str, answer: JudgeAnswer) -> None:
        row = (key, answer.text, answer.prompt_tokens, answer.completion_tokens)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        self._database.close()
