"""An export of many files, of which a directory or a zip holds the JSON: Slack's."""

import io
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from rolesum.errors import DataError

# Of a Slack export: who the members are, and a file for each channel and day.
MEMBERS = ("users.json", "org_users.json")
_DAY = re.compile(r"[^/]+/\d{4}-\d{2}-\d{2}\.json")

# A zip of a few megabytes can unpack to terabytes.
MAX_UNPACKED_BYTES = 2**30

_WHAT_IS_READ = "name a file, or a Slack export: the directory or zip that holds users.json"


def is_zip(raw: bytes) -> bool:
    return raw.startswith(b"PK\x03\x04")


def read_export_directory(folder: Path) -> dict[str, bytes]:
    """The files of a Slack export by their paths in it. Raises DataError where the directory is none."""
    if not any((folder / name).is_file() for name in MEMBERS):
        raise DataError("cannot read the file: it is a directory without users.json", str(folder), _WHAT_IS_READ)
    try:
        found = {
            path.relative_to(folder).as_posix(): path for path in (*folder.glob("*.json"), *folder.glob("*/*.json"))
        }
        return {name: path.read_bytes() for name, path in found.items() if _is_wanted(name)}
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror}", str(error.filename), "check the path") from None


def read_export_zip(raw: bytes, name: str, most: int = MAX_UNPACKED_BYTES) -> dict[str, bytes]:
    """The files of a zipped Slack export; one folder around the whole is passed over.

    Raises DataError, also where they unpack to more than `most` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            if "word/document.xml" in names:
                fix = "a Teams meeting's transcript can be downloaded as .vtt too; or save it as text"
                raise DataError("a Word document (.docx), which is not read", name, fix)
            around = [path.parent for entry in names if (path := PurePosixPath(entry)).name in MEMBERS]
            if not around:
                raise DataError("a zip without users.json", name, f"unpack it, or {_WHAT_IS_READ}")
            top = min(around, key=lambda path: len(path.parts))
            inside = {
                PurePosixPath(entry).relative_to(top).as_posix(): entry
                for entry in names
                if PurePosixPath(entry).is_relative_to(top)
            }
            wanted = {path: entry for path, entry in inside.items() if _is_wanted(path)}
            size = sum(archive.getinfo(entry).file_size for entry in wanted.values())
            if size > most:
                what = f"a zip of {size:,} bytes, unpacked; at most {most:,} are read"
                raise DataError(what, name, "unpack it, and name the directory")
            return {path: archive.read(entry) for path, entry in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError) as error:
        raise DataError(f"cannot read the zip: {error}", name, "unpack it, and name the directory") from None


def _is_wanted(path: str) -> bool:
    return path in MEMBERS or _DAY.fullmatch(path) is not None
