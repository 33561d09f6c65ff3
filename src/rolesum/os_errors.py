"""Errors of the operating system as rolesum's own: which resource failed, and what to do about that one.

All commands and the server translate here, so that a limit on open files never gets advice about disk space.
"""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

from rolesum.errors import DataError, ResourceError, RolesumError, error_summary

# Rust's libraries (safetensors, tokenizers), and Python's own exceptions inside a library's message.
_NUMBER_IN_TEXT = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
# SQLite's result codes, by sqlite.org/rescode.html: FULL, IOERR, NOMEM, READONLY, PERM. Importing sqlite3 takes time.
_SQLITE = {13: errno.ENOSPC, 10: errno.EIO, 7: errno.ENOMEM, 8: errno.EROFS, 3: errno.EACCES}
# torch.save says neither why nor with which number it could not write.
_UNSAID = -1


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
    _UNSAID: "free some disk space, or raise the limit on a file's size (ulimit -f)",
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
# The path is not what it was taken for: the caller knows best what belongs there.
_OF_THE_PATH = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
# What a machine lacks, whatever was read or written: never the fault of a data file.
_RESOURCES = {
    _UNSAID,
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.ENOMEM, errno.EAGAIN, errno.EBUSY, errno.ENODEV),
}
# The texts by which libraries pass on an error without its number: the longer ones only, which are no other words.
_TEXTS = {
    os.strerror(number).lower(): number
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ENOMEM)
} | {"input/output error": errno.EIO, "file write failed": _UNSAID, "unexpected pos": _UNSAID}


def errno_of(error: BaseException) -> int | None:
    """The operating system's number of an error, also where a library wraps it in an error of its own."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen.errno
        if (number := _SQLITE.get(getattr(seen, "sqlite_errorcode", 0) & 0xFF) or _number_in(str(seen))) is not None:
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
    then: str = "",
    kind: type[RolesumError] = ResourceError,
) -> RolesumError:
    """The error to raise in place of an error of the operating system, or of a library that met one.

    Args:
        error: An OSError, or a library's error that holds one.
        what: What could not be done: "cannot write".
        where: The file. Default: the one that the error names.
        fix: What to do about an error that is no lack of a resource, such as a file that is not there.
        then: What to do afterwards, such as how a run is resumed.
        kind: The class of errors that are no lack of a resource; a lack is always a ResourceError.
    """
    number = errno_of(error)
    named = getattr(error, "filename", None)
    own = os.fsencode(named).decode("utf-8", "replace") if isinstance(named, str | bytes | Path) else ""
    place = own if where is None else str(where)
    strerror = getattr(error, "strerror", None)
    reason = strerror if isinstance(strerror, str) else error_summary(error)
    if strerror and own and Path(place).name not in own:
        reason += f" ({own})"
    advice = _ADVICE.get(number) if number is not None else None
    advised = advice() if callable(advice) else advice
    if fix and (number is None or number in _OF_THE_PATH or advised is None):
        advised = fix
    lacking = number in _RESOURCES
    return (ResourceError if lacking else kind)(f"{what}: {reason}", place, "; ".join(filter(None, (advised, then))))


def cannot_read(error: BaseException, where: str | Path | None = None, fix: str = "") -> RolesumError:
    """The error for a data file that cannot be read: a DataError, or a ResourceError where the machine lacks one."""
    return os_error(error, "cannot read the file", where, fix, kind=DataError)
