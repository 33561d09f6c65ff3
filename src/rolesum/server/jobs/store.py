"""Batches and their dialogues in SQLite: what was accepted survives a restart and is summarized once.

A dialogue's text is deleted in the same transaction that saves its summaries.
"""

import json
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rolesum import strict_json
from rolesum.locks import process_lock
from rolesum.os_errors import os_error
from rolesum.server.problems import HTTPProblem
from rolesum.server.schemas import BatchOut, ResultOut
from rolesum.sqlite_store import Schema, SQLiteStore

_STATE = "id, model, created, ended, canceled, total, done, failed"  # columns, as _batch_out takes them
# Makes the webhook of a batch due that has just ended; one that was due before stays as it is.
_SET_DUE = """UPDATE batches SET webhook_due = ended
    WHERE id = ? AND ended IS NOT NULL AND webhook IS NOT NULL AND webhook_due IS NULL AND webhook_tries = 0"""
TIMEOUT = 5.0  # seconds that a request waits for the file while it is locked
_FIX = "give another --store"
_TABLES = """
CREATE TABLE batches (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, idempotency_key TEXT, digest TEXT NOT NULL, model TEXT NOT NULL,
  options TEXT NOT NULL, created REAL NOT NULL, ended REAL, canceled INTEGER NOT NULL DEFAULT 0,
  total INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX open_batches ON batches (ended);
CREATE INDEX batch_owners ON batches (owner);
CREATE UNIQUE INDEX idempotency_keys ON batches (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE TABLE items (
  batch TEXT NOT NULL REFERENCES batches ON DELETE CASCADE, number INTEGER NOT NULL, id TEXT NOT NULL, dialogue TEXT,
  state TEXT NOT NULL DEFAULT 'waiting', result TEXT, PRIMARY KEY (batch, number)
);
CREATE INDEX waiting_items ON items (batch, number) WHERE state = 'waiting';
"""
_WEBHOOKS = """
ALTER TABLE batches ADD COLUMN webhook TEXT;
ALTER TABLE batches ADD COLUMN webhook_tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN webhook_due REAL;
CREATE INDEX due_webhooks ON batches (webhook_due) WHERE webhook_due IS NOT NULL;
"""
SCHEMA = Schema(
    contents="batches",
    application_id=0x72736274,  # "rsbt"
    migrations=(_TABLES, _WEBHOOKS),
    pragmas=("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"),
)


@dataclass(frozen=True)
class BatchItem:
    """One waiting dialogue of a batch. `options` is JSON of SummaryOptions, `dialogue` a line of rolesum's format."""

    batch: str
    number: int
    model: str
    options: str
    dialogue: str
    owner: str


@dataclass(frozen=True)
class DueWebhook:
    """A webhook to send: the batch that has ended, the address, and how often it was tried."""

    batch: BatchOut
    url: str
    tries: int


class BatchStore:
    """The file of batches, opened by one process at a time.

    Raises UsageError if another process has it open, DataError for a file of another kind. Every method may raise
    ResourceError, if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lock_file = path.with_name(f"{path.name}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as held:
                held.enter_context(process_lock(lock_file, where=path, fix=_FIX))
                path.touch(mode=0o600)
                self._db = SQLiteStore(path, SCHEMA, fix=_FIX, timeout=TIMEOUT)
                self._process_lock = held.pop_all()
        except OSError as error:
            raise os_error(error, "cannot open the batches", path, then=f"or {_FIX}") from None

    def check(self) -> None:
        """Raise ResourceError unless batches can be read and saved now."""
        self._db.check()

    def close(self) -> None:
        """Close the file and release its lock."""
        self._db.close()
        self._process_lock.close()

    def add(
        self,
        owner: str,
        model: str,
        options: str,
        dialogues: Sequence[tuple[str, str]],
        *,
        digest: str = "",
        idempotency_key: str | None = None,
        webhook: str | None = None,
    ) -> str:
        """Save a batch of (id, line) dialogues and return its id. `webhook` is the URL that is called when it ends.

        An `idempotency_key` that was used before returns the batch of that time; if the `digest` of its content
        differs, raises HTTPProblem 409.
        """
        with self._db.transaction() as db:
            if idempotency_key is not None:
                query = "SELECT id, digest FROM batches WHERE owner = ? AND idempotency_key = ?"
                if row := db.execute(query, (owner, idempotency_key)).fetchone():
                    if row[1] != digest:
                        what = "this Idempotency-Key was used for another batch"
                        raise HTTPProblem(409, what, where="Idempotency-Key", fix="use a new key for a new batch")
                    return str(row[0])
            identity = f"batch-{secrets.token_hex(8)}"
            db.execute(
                """INSERT INTO batches (id, owner, idempotency_key, digest, model, options, created, total, webhook)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (identity, owner, idempotency_key, digest, model, options, time.time(), len(dialogues), webhook),
            )
            db.executemany(
                "INSERT INTO items (batch, number, id, dialogue) VALUES (?, ?, ?, ?)",
                ((identity, number, name, line) for number, (name, line) in enumerate(dialogues)),
            )
        return identity

    def next_item(
        self, models: Collection[str], running: Collection[tuple[str, int]], running_by_owner: Mapping[str, int]
    ) -> BatchItem | None:
        """Return the next waiting dialogue for one of the models that is not in `running` (batch, number).

        Owners take turns: the one with the fewest running dialogues comes first, then the one with the oldest batch.
        """
        query = f"""SELECT owner, min(rowid) FROM batches WHERE ended IS NULL AND model IN ({_placeholders(models)})
            GROUP BY owner ORDER BY min(rowid)"""
        owners = [owner for owner, _ in self._db.query(query, tuple(models))]
        for owner in sorted(owners, key=lambda owner: running_by_owner.get(owner, 0)):
            if item := self._next_item_of(owner, models, running):
                return item
        return None

    def _next_item_of(
        self, owner: str, models: Collection[str], running: Collection[tuple[str, int]]
    ) -> BatchItem | None:
        # CROSS JOIN keeps the order of both indices, so that nothing is sorted however many dialogues wait.
        query = f"""
            SELECT items.batch, items.number, batches.model, batches.options, items.dialogue, batches.owner
            FROM batches CROSS JOIN items ON items.batch = batches.id
            WHERE batches.ended IS NULL AND batches.owner = ? AND items.state = 'waiting'
            AND batches.model IN ({_placeholders(models)})
            ORDER BY batches.rowid, items.number LIMIT ?
        """
        rows = self._db.query(query, (owner, *models, len(running) + 1))
        return next((BatchItem(*row) for row in rows if (row[0], row[1]) not in running), None)

    def finish(self, item: BatchItem, state: Literal["done", "failed"], result: dict[str, Any]) -> bool:
        """Save the result of a dialogue; False if the batch was canceled or the dialogue finished meanwhile."""
        text = strict_json.dumps(result, ensure_ascii=False)
        with self._db.transaction() as db:
            changed = db.execute(
                """UPDATE items SET state = ?, result = ?, dialogue = NULL
                WHERE batch = ? AND number = ? AND state = 'waiting'
                AND EXISTS (SELECT 1 FROM batches WHERE id = batch AND canceled = 0)""",
                (state, text, item.batch, item.number),
            ).rowcount
            if changed:
                db.execute(
                    f"""UPDATE batches SET {state} = {state} + 1,
                    ended = CASE WHEN done + failed + 1 = total THEN ? ELSE ended END WHERE id = ?""",
                    (time.time(), item.batch),
                )
                db.execute(_SET_DUE, (item.batch,))
        if changed and self._db.query("SELECT 1 FROM batches WHERE id = ? AND ended IS NOT NULL", (item.batch,)):
            self._db.truncate_log()
        return bool(changed)

    def batch(self, identity: str, owner: str) -> BatchOut:
        """Return the state of a batch. Raises HTTPProblem 404 if this owner has no such batch."""
        found = self._batches("WHERE id = ? AND owner = ?", (identity, owner))
        if not found:
            raise HTTPProblem(404, f'no batch "{identity[:100]}"', fix="GET /v1/batches lists your batches")
        return found[0]

    def batches(self, owner: str, limit: int) -> list[BatchOut]:
        """Return an owner's newest batches, the newest first."""
        return self._batches("WHERE owner = ? ORDER BY rowid DESC LIMIT ?", (owner, limit))

    def _batches(self, where: str, values: tuple[Any, ...]) -> list[BatchOut]:
        query = f"SELECT {_STATE} FROM batches {where}"
        return [_batch_out(*row) for row in self._db.query(query, values)]

    def results(self, identity: str, offset: int, limit: int) -> list[ResultOut]:
        """Return some results of a batch, in input order."""
        query = "SELECT number, id, state, result FROM items WHERE batch = ? AND number >= ? ORDER BY number LIMIT ?"
        return [_result_out(*row) for row in self._db.query(query, (identity, offset, limit))]

    def cancel(self, identity: str) -> None:
        """Cancel a batch and delete the texts of its dialogues; results that are done stay."""
        with self._db.transaction() as db:
            query = "UPDATE batches SET canceled = 1, ended = ? WHERE id = ? AND ended IS NULL"
            db.execute(query, (time.time(), identity))
            db.execute(_SET_DUE, (identity,))
            db.execute("UPDATE items SET dialogue = NULL WHERE batch = ?", (identity,))
            db.execute("UPDATE items SET state = 'canceled' WHERE batch = ? AND state = 'waiting'", (identity,))
        self._db.truncate_log()

    def delete(self, identity: str) -> None:
        """Delete a batch with its results."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM batches WHERE id = ?", (identity,))
        self._db.truncate_log()

    def delete_ended(self, before: float) -> None:
        """Delete the batches that ended before a time, with their results."""
        with self._db.transaction() as db:
            deleted = db.execute("DELETE FROM batches WHERE ended < ?", (before,)).rowcount
        if deleted:
            self._db.truncate_log()

    def due_webhooks(self, now: float) -> list[DueWebhook]:
        """Return the webhooks to be sent by now, the longest due first."""
        query = f"SELECT webhook, webhook_tries, {_STATE} FROM batches WHERE webhook_due <= ? ORDER BY webhook_due"
        return [DueWebhook(_batch_out(*row[2:]), row[0], row[1]) for row in self._db.query(query, (now,))]

    def set_webhook(self, identity: str, tries: int, due: float | None) -> None:
        """Save how often a webhook was tried, and when it is due again; None if it is not."""
        with self._db.transaction() as db:
            query = "UPDATE batches SET webhook_tries = ?, webhook_due = ? WHERE id = ?"
            db.execute(query, (tries, due, identity))

    def count_waiting(self) -> int:
        """Count the waiting dialogues of all batches."""
        query = "SELECT coalesce(sum(total - done - failed), 0) FROM batches WHERE ended IS NULL"
        return int(self._db.query(query)[0][0])


def _placeholders(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))


def _batch_out(
    identity: str, model: str, created: float, ended: float | None, canceled: int, total: int, done: int, failed: int
) -> BatchOut:
    status: Literal["waiting", "running", "done", "canceled"]
    if canceled:
        status = "canceled"
    elif ended is not None:
        status = "done"
    else:
        status = "running" if done or failed else "waiting"
    return BatchOut(
        id=identity, status=status, model=model, created=created, ended=ended, total=total, done=done, failed=failed
    )


def _result_out(number: int, identity: str, state: str, result: str | None) -> ResultOut:
    value = json.loads(result) if result else None
    key = "problem" if state == "failed" else "result"
    return ResultOut.model_validate({"number": number, "id": identity, "status": state, key: value})
