"""Files and directories written whole or not at all."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rolesum.errors import ResourceError, UsageError


def write_whole(path: Path, text: str) -> None:
    """Write a text file by way of a temporary one beside it. Raises ResourceError."""
    check_writable(path)
    work = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work.write_text(text, encoding="utf-8")
        flush_to_disk(work)
        work.replace(path)
        flush_to_disk(path.parent)
    except OSError as error:
        fix = "check the path, the permissions and the free disk space"
        raise ResourceError(f"cannot write: {error.strerror or error}", str(path), fix) from None
    finally:  # after Ctrl-C too
        with suppress(OSError):
            work.unlink(missing_ok=True)


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """A new directory beside `target` to write into, which takes its place when all went well. Lets OSError through."""
    work = workshop(target)
    try:
        yield work
        _as_the_user_has_it(work)
        flush_all_to_disk(work)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
        flush_to_disk(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _as_the_user_has_it(work: Path) -> None:
    """Modes as the user's umask would give them: mkdtemp, and some libraries, make things private."""
    mask = os.umask(0)
    os.umask(mask)
    for path in [work, *work.rglob("*")]:
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def workshop(target: Path) -> Path:
    """A new hidden directory beside `target`. Those that killed processes of this machine left for it are removed.

    Its name says whose it is: another's directory, or that of a process at work, is never touched.
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
    """Wait until a file, or the names in a directory, are on the disk itself, where the system can."""
    with suppress(PermissionError):  # Windows does not open directories
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def flush_all_to_disk(directory: Path) -> None:
    """flush_to_disk for all that lies in a directory, and for the directory itself."""
    for path in [*directory.rglob("*"), directory]:
        flush_to_disk(path)


def remove_if_empty(folder: Path) -> None:
    """Remove a directory if it is one and nothing lies in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def check_writable(path: Path) -> None:
    """Raise ResourceError where `path` cannot become a file, before hours of work are done for it."""
    fix = "give the name of a file in a directory that you may write to"
    if path.is_dir() or not path.name:
        raise ResourceError("cannot write: this is a directory", str(path), fix)
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ResourceError("cannot write here", str(path), fix)


def check_not_input(out: Path, source: str) -> None:
    """Raise UsageError where what is to be written is the file that is read."""
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise UsageError("OUT is IN itself", str(out), "give another name")


def check_directory(path: Path) -> None:
    """Raise ResourceError where `path` is not a directory that one may write to, and cannot become one."""
    fix = "give a directory that you may write to"
    try:
        above = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    except OSError as error:
        raise ResourceError(f"cannot be a directory: {error.strerror}", str(path), fix) from None
    if not above.is_dir():
        raise ResourceError(f"cannot be a directory: {above} is a file", str(path), fix)
    if not os.access(above, os.W_OK):
        raise ResourceError("cannot write here", str(path), fix)
