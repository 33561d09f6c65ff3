"""An SQLite file of this package: recognized, migrated, written as a whole or not at all."""

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from rolesum.errors import DataError, ResourceError
from rolesum.sqlite_store import Schema, SQLiteStore

FIRST = Schema("notes", 0x6E6F7465, ("CREATE TABLE notes (text TEXT NOT NULL); CREATE INDEX texts ON notes (text)",))
SECOND = replace(FIRST, migrations=(*FIRST.migrations, "ALTER TABLE notes ADD COLUMN author TEXT DEFAULT 'nobody'"))


def opened(path, schema=FIRST):
    return closing(SQLiteStore(path, schema, fix="give another file"))


def add(store, text):
    with store.transaction() as db:
        db.execute("INSERT INTO notes (text) VALUES (?)", (text,))


def test_store_keeps_what_was_committed(tmp_path):
    path = tmp_path / "new" / "notes.sqlite"
    with opened(path) as store:
        add(store, "one")
    with opened(path) as store:
        assert store.query("SELECT text FROM notes WHERE text = ?", ("one",)) == [("one",)]


def test_store_migrates_an_older_file(tmp_path):
    with opened(tmp_path / "notes.sqlite") as store:
        add(store, "old")
    for _ in range(2):  # the second time there is nothing to migrate
        with opened(tmp_path / "notes.sqlite", SECOND) as store:
            assert store.query("SELECT text, author FROM notes") == [("old", "nobody")]


def test_store_that_fails_to_migrate_changes_nothing(tmp_path):
    with opened(tmp_path / "notes.sqlite") as store:
        add(store, "old")
    broken = replace(FIRST, migrations=(*FIRST.migrations, "DROP TABLE notes; DROP TABLE absent"))
    with pytest.raises(ResourceError, match="no such table"):
        opened(tmp_path / "notes.sqlite", broken)
    with opened(tmp_path / "notes.sqlite") as store:
        assert store.query("SELECT text FROM notes") == [("old",)]


def test_store_rejects_a_newer_file(tmp_path):
    with opened(tmp_path / "notes.sqlite", SECOND):
        pass
    with pytest.raises(DataError, match="not a file of notes: a newer version of rolesum made it"):
        opened(tmp_path / "notes.sqlite")


def test_store_rejects_files_of_other_programs(tmp_path):
    text, other = tmp_path / "text", tmp_path / "other"
    text.write_text("no database, but long enough to be read as one " * 30, encoding="utf-8")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(DataError, match="not a file of notes"):
            opened(path)
        assert path.read_bytes() == before


def test_store_rejects_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(ResourceError, match="directory"):
        opened(tmp_path)


def test_transaction_writes_everything_or_nothing(tmp_path):
    with opened(tmp_path / "notes.sqlite") as store:
        with pytest.raises(ZeroDivisionError), store.transaction() as db:
            db.execute("INSERT INTO notes (text) VALUES ('half')")
            raise ZeroDivisionError
        with pytest.raises(ResourceError, match="cannot save the notes"):
            add(store, None)
        assert store.query("SELECT * FROM notes") == []


def test_query_sees_no_unfinished_transaction_of_another_thread(tmp_path):
    with opened(tmp_path / "notes.sqlite") as store:
        found = []
        reader = threading.Thread(target=lambda: found.append(store.query("SELECT count(*) FROM notes")))
        with store.transaction() as db:
            db.execute("INSERT INTO notes (text) VALUES ('one')")
            reader.start()
            reader.join(0.2)
            db.execute("INSERT INTO notes (text) VALUES ('two')")
        reader.join()
        assert found == [[(2,)]]


def test_two_stores_may_create_the_same_file_at_once(tmp_path):
    problems = []

    def create():
        try:
            with opened(tmp_path / "notes.sqlite") as store:
                add(store, "one")
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened(tmp_path / "notes.sqlite") as store:
        assert problems == [] and store.query("SELECT count(*) FROM notes") == [(4,)]


def test_store_without_a_path_is_in_memory():
    with opened(None) as store:
        add(store, "one")
        assert store.query("SELECT text FROM notes") == [("one",)]


def test_query_of_a_damaged_file_says_so_and_nothing_is_read_any_more(tmp_path):
    path = tmp_path / "notes.sqlite"
    with opened(path) as store:
        for number in range(300):
            add(store, f"{number} " * 500)
        store.truncate_log()
        with path.open("r+b") as file:
            file.seek(20 * 4096)
            file.write(b"\xff" * (path.stat().st_size - 20 * 4096))
        with pytest.raises(ResourceError, match="cannot read the notes: database disk image is malformed"):
            store.query("SELECT * FROM notes")
        for work in (store.check, lambda: store.query("SELECT 1"), lambda: add(store, "one"), store.truncate_log):
            with pytest.raises(ResourceError, match="malformed") as error:
                work()
            assert error.value.problems[0].fix == "restore a backup of the file, or give another file"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda path: path.unlink(), "was deleted"),
        (lambda path: path.rename(path.with_name("old")), "was deleted"),
        (lambda path: path.with_name("notes.sqlite-wal").unlink(), "notes.sqlite-wal was deleted"),
        (lambda path: (path.rename(path.with_name("old")), path.write_text("text")), "was replaced"),
        (lambda path: path.write_text("text"), "was truncated"),
        (lambda path: path.write_text("text\n" * 10**5), "not a database"),
    ],
)
def test_store_whose_file_others_changed_is_not_used(tmp_path, change, what):
    path = tmp_path / "notes.sqlite"
    with opened(path) as store:
        add(store, "one")
        store.truncate_log()
        store.check()
        change(path)
        for work in (store.check, lambda: store.query("SELECT * FROM notes"), lambda: add(store, "two")):
            with pytest.raises(ResourceError, match=what):
                work()


def test_store_that_another_thread_keeps_busy_is_not_waited_for_forever(tmp_path):
    with closing(SQLiteStore(tmp_path / "notes.sqlite", FIRST, fix="", timeout=0.2)) as store:
        found = []

        def read():
            try:
                store.query("SELECT 1")
            except ResourceError as error:
                found.append(str(error))

        with store.transaction():
            reader = threading.Thread(target=read)
            reader.start()
            reader.join(60)
        assert "have not ended in time" in found[0]


def test_check_passes_again_once_a_full_file_has_room(tmp_path):
    with opened(tmp_path / "notes.sqlite") as store:
        store.query("PRAGMA max_page_count = 4")
        with pytest.raises(ResourceError, match="full"):
            add(store, "x" * 10**6)
        store.query("PRAGMA max_page_count = 100000")
        store.check()
        add(store, "x" * 10**6)
