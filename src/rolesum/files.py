"""Files written whole or not at all."""

from pathlib import Path

from rolesum.errors import ResourceError


def write_whole(path: Path, text: str) -> None:
    """Write a text file by way of a temporary one beside it. Raises ResourceError."""
    work = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work.write_text(text, encoding="utf-8")
        work.replace(path)
    except OSError as error:
        work.unlink(missing_ok=True)
        fix = "check the path, the permissions and the free disk space"
        raise ResourceError(f"cannot write: {error.strerror or error}", str(path), fix) from None
