"""A lock file that one process at a time holds. The lock of a process that was killed is free."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rolesum.errors import UsageError


@contextmanager
def process_lock(lock_file: Path, *, where: Path, fix: str) -> Iterator[None]:
    """Hold `lock_file` while the block runs, and remove it afterwards.

    Raises UsageError where another process holds it, with that process's id; the error names `where`, the directory or
    the file that the lock protects. An OSError passes through.
    """
    holder = _holder(lock_file)  # before the attempt: some versions of filelock empty the file
    lock = FileLock(lock_file, timeout=0, thread_local=False)  # may be released in another thread
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"in use by {holder}", str(where), fix) from None
    try:
        with suppress(OSError):  # Windows does not write to a file that is locked
            lock_file.write_text(f"{os.getpid()}\n{platform.node()}\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # Windows does not remove a file that is open
            lock_file.unlink()
        lock.release()


def _holder(lock_file: Path) -> str:
    """The process that a lock file names, for the error message."""
    try:
        process, host = lock_file.read_text(encoding="utf-8").splitlines()[:2]
    except (OSError, ValueError):
        return "another process"
    return f"process {process}" if host == platform.node() else f"process {process} on {host}"
