"""Batches and their dialogues in SQLite, so that they outlive the process: what is accepted is done once, and kept.

A dialogue's text is removed in the same step that writes its summaries down.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.errors import ResourceError, UsageError
from rolesum.locks import process_lock
from rolesum.server.problems import Refusal
from rolesum.server.schemas import BatchOut, ResultOut

FORM = 1  # of the tables; raised when they change
_TABLES = """
CREATE TABLE batches (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, mark TEXT, digest TEXT NOT NULL, model TEXT NOT NULL, wishes TEXT NOT NULL,
  created REAL NOT NULL, ended REAL, canceled INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL,
  done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX open ON batches (ended);
CREATE INDEX owners ON batches (owner);
CREATE UNIQUE INDEX marks ON batches (owner, mark) WHERE mark IS NOT NULL;
CREATE TABLE items (
  batch TEXT NOT NULL REFERENCES batches ON DELETE CASCADE, number INTEGER NOT NULL, id TEXT NOT NULL, dialogue TEXT,
  state TEXT NOT NULL DEFAULT 'waiting', result TEXT, PRIMARY KEY (batch, number)
);
CREATE INDEX waiting ON items (batch, number) WHERE state = 'waiting';
"""


@dataclass(frozen=True)
class Item:
    """A dialogue that waits: of which batch, how it is wanted, and the dialogue as a line of rolesum's own format."""

    batch: str
    number: int
    model: str
    wishes: str
    dialogue: str
    owner: str


class Store:
    """The file. One process at a time has it. Raises ResourceError or UsageError where it cannot be had."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        lock = path.with_name(f"{path.name}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as held:
                held.enter_context(process_lock(lock, where=path, fix="give another --store"))
                path.touch(mode=0o600)
                self._open()
                self._process_lock = held.pop_all()
        except (OSError, sqlite3.Error) as error:
            fix = "check the path, the permissions and the free disk space, or give another --store"
            raise ResourceError(f"cannot keep batches: {error}", str(path), fix) from None

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        form = self._db.execute("PRAGMA user_version").fetchone()[0]
        if form == 0:
            with self._change():
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {FORM}")
        elif form != FORM:
            raise UsageError("batches of another version of rolesum", str(self.path), "give another --store")

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._process_lock.close()

    def add(
        self, owner: str, model: str, wishes: str, dialogues: Sequence[tuple[str, str]], digest: str, mark: str | None
    ) -> str:
        """Accept a batch of (id, line) and give its id. A `mark` that came before gives the batch that it came with.

        Raises Refusal where it came with another one.
        """
        with self._lock, self._change():
            if mark is not None:
                found = self._db.execute("SELECT id, digest FROM batches WHERE owner = ? AND mark = ?", (owner, mark))
                if row := found.fetchone():
                    if row[1] != digest:
                        what = "the same Idempotency-Key came with another batch"
                        raise Refusal(409, what, where="Idempotency-Key", fix="take a new key for a new batch")
                    return str(row[0])
            identity = f"batch-{secrets.token_hex(8)}"
            self._db.execute(
                """INSERT INTO batches (id, owner, mark, digest, model, wishes, created, total)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                (identity, owner, mark, digest, model, wishes, time.time(), len(dialogues)),
            )
            self._db.executemany(
                "INSERT INTO items (batch, number, id, dialogue) VALUES (?, ?, ?, ?)",
                ((identity, number, name, line) for number, (name, line) in enumerate(dialogues)),
            )
        return identity

    def next(
        self, models: Collection[str], taken: Collection[tuple[str, int]], at_work: Mapping[str, int]
    ) -> Item | None:
        """The first dialogue that waits for one of the models and is not `taken`, of the owner's oldest batch.

        Owners take turns: who has the fewest dialogues `at_work` comes first.
        """
        marks = ", ".join("?" * len(models))
        query = f"""SELECT owner, min(rowid) FROM batches WHERE ended IS NULL AND model IN ({marks})
            GROUP BY owner ORDER BY min(rowid)"""
        with self._lock:
            owners = [owner for owner, _ in self._db.execute(query, tuple(models))]
        for owner in sorted(owners, key=lambda one: at_work.get(one, 0)):
            if item := self._next_of(owner, models, taken):
                return item
        return None

    def _next_of(self, owner: str, models: Collection[str], taken: Collection[tuple[str, int]]) -> Item | None:
        marks = ", ".join("?" * len(models))
        # Batches outside, items inside, as their indices have them: nothing is sorted, however much waits.
        query = f"""
            SELECT items.batch, items.number, batches.model, batches.wishes, items.dialogue, batches.owner
            FROM batches CROSS JOIN items ON items.batch = batches.id
            WHERE batches.ended IS NULL AND batches.owner = ? AND items.state = 'waiting'
            AND batches.model IN ({marks})
            ORDER BY batches.rowid, items.number LIMIT ?
        """
        with self._lock:
            rows = self._db.execute(query, (owner, *models, len(taken) + 1)).fetchall()
        return next((Item(*row) for row in rows if (row[0], row[1]) not in taken), None)

    def finish(self, item: Item, state: str, result: dict[str, Any]) -> bool:
        """Write down what came of a dialogue; False where it was canceled or done meanwhile."""
        text = json.dumps(result, ensure_ascii=False)
        with self._lock, self._change():
            changed = self._db.execute(
                """UPDATE items SET state = ?, result = ?, dialogue = NULL
                WHERE batch = ? AND number = ? AND state = 'waiting'
                AND EXISTS (SELECT 1 FROM batches WHERE id = batch AND canceled = 0)""",
                (state, text, item.batch, item.number),
            ).rowcount
            if changed:
                assert state in ("done", "failed")
                self._db.execute(
                    f"""UPDATE batches SET {state} = {state} + 1,
                    ended = CASE WHEN done + failed + 1 = total THEN ? ELSE ended END WHERE id = ?""",
                    (time.time(), item.batch),
                )
        if changed and self._has_ended(item.batch):
            self._forget()
        return bool(changed)

    def _has_ended(self, identity: str) -> bool:
        with self._lock:
            found = self._db.execute("SELECT ended IS NOT NULL FROM batches WHERE id = ?", (identity,)).fetchone()
        return bool(found and found[0])

    def batch(self, identity: str, owner: str) -> BatchOut:
        """How far a batch is. Raises Refusal for one that this owner does not have."""
        found = self._batches("WHERE id = ? AND owner = ?", (identity, owner))
        if not found:
            raise Refusal(404, f'no batch "{identity[:100]}"', fix="GET /v1/batches lists them")
        return found[0]

    def batches(self, owner: str, limit: int) -> list[BatchOut]:
        """An owner's newest batches, the newest first."""
        return self._batches("WHERE owner = ? ORDER BY rowid DESC LIMIT ?", (owner, limit))

    def _batches(self, which: str, values: tuple[Any, ...]) -> list[BatchOut]:
        query = f"SELECT id, model, created, ended, canceled, total, done, failed FROM batches {which}"
        with self._lock:
            rows = self._db.execute(query, values).fetchall()
        return [_batch(*row) for row in rows]

    def results(self, identity: str, offset: int, limit: int) -> list[ResultOut]:
        """Some dialogues of a batch, in input order."""
        query = "SELECT number, id, state, result FROM items WHERE batch = ? AND number >= ? ORDER BY number LIMIT ?"
        with self._lock:
            rows = self._db.execute(query, (identity, offset, limit)).fetchall()
        return [_result(*row) for row in rows]

    def cancel(self, identity: str) -> None:
        """Let go of what waits, and of its texts."""
        with self._lock, self._change():
            self._db.execute(
                "UPDATE batches SET canceled = 1, ended = ? WHERE id = ? AND ended IS NULL", (time.time(), identity)
            )
            self._db.execute("UPDATE items SET dialogue = NULL WHERE batch = ?", (identity,))
            self._db.execute("UPDATE items SET state = 'canceled' WHERE batch = ? AND state = 'waiting'", (identity,))
        self._forget()

    def delete(self, identity: str) -> None:
        """Remove a batch with its results."""
        with self._lock, self._change():
            self._db.execute("DELETE FROM batches WHERE id = ?", (identity,))
        self._forget()

    def _forget(self) -> None:
        """Empty the write-ahead log, where removed texts stand until then; the file itself overwrites them."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def waiting(self) -> int:
        """Dialogues that wait, of all batches."""
        query = "SELECT coalesce(sum(total - done - failed), 0) FROM batches WHERE ended IS NULL"
        with self._lock:
            return int(self._db.execute(query).fetchone()[0])

    @contextmanager
    def _change(self) -> Iterator[None]:
        """All that is written inside is written, or nothing. Raises ResourceError where it cannot be written."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            fix = "check the free disk space and the permissions"
            raise ResourceError(f"cannot keep batches: {error}", str(self.path), fix) from None


def _batch(
    identity: str, model: str, created: float, ended: float | None, canceled: int, total: int, done: int, failed: int
) -> BatchOut:
    if canceled:
        status = "canceled"
    elif ended is not None:
        status = "done"
    else:
        status = "running" if done or failed else "waiting"
    return BatchOut.model_validate(
        {
            "id": identity,
            "status": status,
            "model": model,
            "created": created,
            "ended": ended,
            "total": total,
            "done": done,
            "failed": failed,
        }
    )


def _result(number: int, identity: str, state: str, result: str | None) -> ResultOut:
    value = json.loads(result) if result else None
    key = "problem" if state == "failed" else "result"
    return ResultOut.model_validate({"number": number, "id": identity, "status": state, key: value})
