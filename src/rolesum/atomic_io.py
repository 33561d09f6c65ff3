"""Atomic writes: a file or a directory appears complete under its name, or not at all; checks of output paths."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rolesum.errors import ResourceError, UsageError
from rolesum.os_errors import os_error


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file through a temporary file beside it and a rename. Raises ResourceError."""
    atomic_write_bytes(path, text.encode())


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write a file through a temporary file beside it and a rename. Raises ResourceError."""
    check_writable(path)
    work = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work.write_bytes(content)
        flush_to_disk(work)
        work.replace(path)
        flush_to_disk(path.parent)
    except OSError as error:
        raise os_error(error, "cannot write", path) from None
    finally:  # after Ctrl-C too
        with suppress(OSError):
            work.unlink(missing_ok=True)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `target`, which replaces `target` if the block succeeds. May raise OSError."""
    work = make_temp_dir(target)
    try:
        yield work
        _apply_umask(work)
        flush_tree_to_disk(work)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
        flush_to_disk(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _apply_umask(work: Path) -> None:
    """Set the modes that the user's umask gives: mkdtemp and some libraries create private files."""
    mask = os.umask(0)
    os.umask(mask)
    for path in [work, *work.rglob("*")]:
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def make_temp_dir(target: Path) -> Path:
    """Create a hidden directory beside `target`, and remove those that killed processes of this machine left there.

    The name holds the host and the process id: a directory of another host or of a running process is never touched.
    """
    import psutil  # here: files are written by commands that must start quickly

    target.parent.mkdir(parents=True, exist_ok=True)
    mark = f".{target.name}.rolesum-{re.sub(r'[^A-Za-z0-9]', '', platform.node())}-"
    ours = re.compile(re.escape(mark) + r"(\d+)-[a-z0-9_]{8}")
    for one in target.parent.iterdir():
        found = ours.fullmatch(one.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(one, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{mark}{os.getpid()}-", dir=target.parent))


def flush_to_disk(path: Path) -> None:
    """fsync a file or a directory, where the system can."""
    with suppress(PermissionError):  # Windows does not open directories
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def flush_tree_to_disk(directory: Path) -> None:
    """fsync a directory and everything in it."""
    for path in [*directory.rglob("*"), directory]:
        flush_to_disk(path)


def remove_if_empty(folder: Path) -> None:
    """Remove `folder` if it is an empty directory."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def check_writable(path: Path) -> None:
    """Raise ResourceError if a file cannot be written at `path`: called before the work is done for it."""
    fix = "give the name of a file in a directory that you may write to"
    if path.is_dir() or not path.name:
        raise ResourceError("cannot write: this is a directory", str(path), fix)
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ResourceError("cannot write here", str(path), fix)


def check_not_input(out: Path, source: str) -> None:
    """Raise UsageError if the output file is the input file."""
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise UsageError("the output file is the input file", str(out), "give another name")


def check_directory(path: Path) -> None:
    """Raise ResourceError if `path` is not a writable directory and cannot be created as one."""
    fix = "give a directory that you may write to"
    try:
        above = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    except OSError as error:
        raise os_error(error, "cannot be a directory", path, fix) from None
    if not above.is_dir():
        raise ResourceError(f"cannot be a directory: {above} is a file", str(path), fix)
    if not os.access(above, os.W_OK):
        raise ResourceError("cannot write here", str(path), fix)
