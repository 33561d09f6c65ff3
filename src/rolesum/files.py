"""Files written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from rolesum.errors import ResourceError


def write_whole(path: Path, text: str) -> None:
    """Write a text file by way of a temporary one beside it. Raises ResourceError."""
    check_writable(path)
    work = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work.write_text(text, encoding="utf-8")
        work.replace(path)
    except OSError as error:
        with suppress(OSError):
            work.unlink()
        fix = "check the path, the permissions and the free disk space"
        raise ResourceError(f"cannot write: {error.strerror or error}", str(path), fix) from None


def check_writable(path: Path) -> None:
    """Raise ResourceError where `path` cannot become a file, before hours of work are done for it."""
    fix = "give the name of a file in a directory that you may write to"
    if path.is_dir() or not path.name:
        raise ResourceError("cannot write: this is a directory", str(path), fix)
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ResourceError("cannot write here", str(path), fix)
