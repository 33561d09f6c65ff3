"""What a file or a directory was when it was read, so that a change of it is noticed before its data is used again.

The system's record of a file (size, times, inode) is compared first, which costs next to nothing; its content is hashed
again only where that differs. A file that was rewritten with the same size and its old modification time has another
change time (ctime), which no program can set.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rolesum.counts import counted
from rolesum.errors import DataError, ModelError, RolesumError


@dataclass(frozen=True, slots=True)
class FileState:
    """A file, or all files in a directory: the total size, the system's record of them, and the hash of the content."""

    path: str
    size: int
    record: str
    sha256: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FileState":
        """Read what `as_json` gave. Raises TypeError for anything else."""
        return cls(**value)


def read_state(path: Path) -> FileState:
    """The state of a file or directory, whose content is read for it.

    Raises DataError where it changes meanwhile. An OSError passes through.
    """
    size, record = _record(path)
    sha256 = _content_hash(path)
    if _record(path)[1] != record:
        fix = "wait until nothing writes to it, then run the same command again"
        raise DataError("it changes while it is read", str(path), fix)
    return FileState(str(path.absolute()), size, record, sha256)


def find_change(before: FileState, known_record: str | None = None) -> tuple[str | None, str]:
    """How a file differs from what it was, or None; and its record, to be given as `known_record` the next time.

    A file with another record and the same content has not changed. An OSError other than for a missing file passes
    through.
    """
    path = Path(before.path)
    try:
        size, record = _record(path)
        if record in (before.record, known_record):
            return None, record
        if size != before.size:
            return f"it had {counted(before.size, 'byte')} and now has {size:,}", record
        return (None if _content_hash(path) == before.sha256 else "its content is another"), record
    except (FileNotFoundError, NotADirectoryError):
        return "it is gone", ""


@contextmanager
def unchanged_while_read(path: Path, fix: str, kind: type[RolesumError] = ModelError) -> Iterator[None]:
    """Raise an error of `kind` if a file, or one in a directory, changes while the block reads it.

    So what the block has read of several files belongs together. Only the system's record is compared, and only that of
    files that lie in the directory itself.
    """
    before = _top_records(path)
    try:
        yield
    except Exception:
        if _top_records(path) != before:
            raise kind("it changed while it was read", str(path), fix) from None
        raise
    if _top_records(path) != before:
        raise kind("it changed while it was read", str(path), fix)


def top_files(path: Path) -> list[Path]:
    """The file itself, or the files that lie in a directory, such as a model's or an adapter's; no hidden ones."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))


def _top_records(path: Path) -> list[str] | None:
    """The names and records of a file or of those in a directory; None where one is missing."""
    try:
        return [f"{one.name} {_record(one)[1]}" for one in top_files(path)]
    except OSError:
        return None


def _members(path: Path) -> list[Path]:
    """The file itself, or all files in a directory, in one order."""
    return sorted(one for one in path.rglob("*") if not one.is_dir()) if path.is_dir() else [path]


def _record(path: Path) -> tuple[int, str]:
    """The size of a file or of all files in a directory, and the system's record of them as one text."""
    total, lines = 0, []
    for one in _members(path):
        facts = one.stat()
        total += facts.st_size
        name = one.relative_to(path).as_posix()
        lines.append(f"{name} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}")
    if not path.is_dir():
        return total, lines[0].removeprefix(". ")
    return total, hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _content_hash(path: Path) -> str:
    """SHA-256 of a file's content, or of the names and contents of all files in a directory."""
    if not path.is_dir():
        return _file_hash(path)
    lines = (f"{one.relative_to(path).as_posix()} {_file_hash(one)}" for one in _members(path))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
