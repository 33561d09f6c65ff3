"""Errors of the operating system as rolesum's own: which resource failed, and what to do about that one.

All commands and the server translate here, so that a limit on open files never gets advice about disk space.
"""

import errno
import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

from rolesum.errors import DataError, ResourceError, RolesumError, error_summary

# Rust's libraries (safetensors, tokenizers), and Python's own exceptions inside a library's message.
_NUMBER_IN_TEXT = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


def _open_files_fix() -> str:
    try:
        import resource  # not on Windows
    except ImportError:
        return "close other programs, then run it again"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"raise the limit on open files, which is {soft}: ulimit -n {max(4096, 4 * soft)}; then run it again"


_SPACE = "free some disk space, or write to another disk"
_RIGHTS = "check its owner and permissions (ls -l), or name another path"
_STORAGE = "check the disk or the network storage (its messages are in dmesg), then run it again"
_PATH = "check the path"
_ADVICE: dict[int, str | Callable[[], str]] = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: "free some space of your quota on this disk, or write to another disk",
    errno.EFBIG: "raise the limit on a file's size (ulimit -f), or write to a file system that takes larger files",
    errno.EMFILE: _open_files_fix,
    errno.ENFILE: "close other programs, or raise the machine's limit on open files (sysctl fs.file-max)",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "this file system cannot be written to: name a path on another one",
    errno.EIO: _STORAGE,
    errno.ESTALE: _STORAGE,
    errno.ETIMEDOUT: _STORAGE,
    errno.ENODEV: _STORAGE,
    errno.ENXIO: _STORAGE,
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOMEM: "free some memory: close other programs, or process fewer dialogues at a time",
    errno.EAGAIN: "the machine or its limit on processes (ulimit -u) is exhausted: close other programs",
    errno.EBUSY: "another program uses it: end that one, then run it again",
    errno.ENOENT: _PATH,
    errno.ENOTDIR: "a part of the path is a file: check the path",
    errno.EISDIR: "this is a directory: name a file",
    errno.ELOOP: "its symbolic links lead in a circle: check the path",
    errno.EILSEQ: "the file system takes no such name: give another name",
}
# What a machine lacks, whatever was read or written: never the fault of a data file.
_RESOURCES = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.ENOMEM, errno.EAGAIN, errno.EBUSY, errno.ENODEV),
}
# The texts by which libraries pass on an error without its number: the longer ones only, which are no other words.
_TEXTS = {
    os.strerror(number).lower(): number
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ENOMEM)
} | {"input/output error": errno.EIO, "file write failed": errno.ENOSPC, "unexpected pos": errno.ENOSPC}


def errno_of(error: BaseException) -> int | None:
    """The operating system's number of an error, also where a library wraps it in an error of its own."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen.errno
        if isinstance(seen, sqlite3.Error) and (code := getattr(seen, "sqlite_errorcode", None)) is not None:
            if (number := _SQLITE.get(code & 0xFF)) is not None:
                return number
        elif number := _number_in(str(seen)):
            return number
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def _number_in(text: str) -> int | None:
    if found := _NUMBER_IN_TEXT.search(text):
        return int(found[1] or found[2])
    lowered = text.lower()
    return next((number for known, number in _TEXTS.items() if known in lowered), None)


def is_broken_pipe(error: BaseException) -> bool:
    """Whether the reader of an output has gone, as `| head` does: nothing is wrong."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def os_error(
    error: BaseException,
    what: str,
    where: str | Path | None = None,
    fix: str = "",
    *,
    kind: type[RolesumError] = ResourceError,
) -> RolesumError:
    """The error to raise in place of an error of the operating system, or of a library that met one.

    Args:
        error: An OSError, or a library's error that holds one.
        what: What could not be done: "cannot write".
        where: The file. Default: the one that the error names.
        fix: What to do in addition, such as how a run is resumed; all there is to say for an error without advice.
        kind: The class of errors that are no lack of a resource; a lack is always a ResourceError.
    """
    number = errno_of(error)
    strerror = error.strerror if isinstance(error, OSError) and isinstance(error.strerror, str) else None
    reason = strerror or (os.strerror(number) if number is not None else error_summary(error))
    advice = _ADVICE.get(number) if number is not None else None
    advised = advice() if callable(advice) else advice
    named = getattr(error, "filename", None) if where is None else where
    place = os.fsencode(named).decode("utf-8", "replace") if isinstance(named, str | bytes | Path) else ""
    lacking = number in _RESOURCES
    return (ResourceError if lacking else kind)(f"{what}: {reason}", place, "; ".join(filter(None, (advised, fix))))


def cannot_read(error: BaseException, where: str | Path | None = None, fix: str = "") -> RolesumError:
    """The error for a data file that cannot be read: a DataError, or a ResourceError where the machine lacks one."""
    return os_error(error, "cannot read the file", where, fix, kind=DataError)
