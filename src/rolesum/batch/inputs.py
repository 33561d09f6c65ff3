"""Input files as one stream of dialogues and failures, which can be taken up again at any of its marks.

JSON lines and Parquet are read a little at a time, so that memory does not grow with the file. Other formats are read
a file at a time, as everywhere in rolesum.
"""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rolesum.batch.worker import Failure
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats import FORMATS, ReadOptions, Source, read_items, sniff_format
from rolesum.formats.source import STDIN

# Formats with one dialogue a line, each with an id of its own.
LINE_FORMATS = ("rolesum", "samsum", "csds", "tweetsumm", "dialogsum")
LINE_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIX = ".parquet"
# Exports that are a directory: with this --format, a directory is one input.
DIRECTORY_FORMATS = ("slack",)
SNIFFED_LINES = 20
EDGE_BYTES = 1 << 20  # of a file's head and of its tail that make its fingerprint


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a file: the byte, and the line that begins there; or the number of the row or item."""

    offset: int = 0
    line: int = 1


# Each item with the mark behind it.
ItemStream = Iterator[tuple[Cursor, Dialogue | Failure]]


def expand_inputs(given: Sequence[str], out: Path, file_format: str | None = None) -> list[Path]:
    """The files that IN names, in order: files, patterns, and all files in directories, but hidden ones and `out`.

    Raises UsageError and DataError.
    """
    files: dict[Path, None] = {}
    for name in given:
        if name == STDIN:
            what = "a bulk run cannot be resumed from standard input"
            raise UsageError(what, fix="write it to a file, or use rolesum summarize")
        path = Path(name)
        if path.is_dir() and file_format not in DIRECTORY_FORMATS:
            found = _inside(path, out)
        elif path.exists():
            found = [path]
        else:
            found = [Path(one) for one in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 - absolute ones too
            found = [one for one in found if one.is_file() and not one.resolve().is_relative_to(out.resolve())]
        if not found:
            raise DataError("no such file, and no file in it", name, "check the path or the pattern")
        files |= dict.fromkeys(found)
    return list(files)


def _inside(folder: Path, out: Path) -> list[Path]:
    away = out.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.resolve().is_relative_to(away)
    ]


def fingerprint(path: Path) -> dict[str, str | int]:
    """What tells whether a file is still the one it was: its size, its time, and a hash of its head and tail."""
    digest, size, changed = hashlib.sha256(), 0, 0
    for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if one.is_dir():
            continue
        try:
            facts = one.stat()
            with one.open("rb") as file:
                digest.update(file.read(EDGE_BYTES))
                file.seek(max(EDGE_BYTES, facts.st_size - EDGE_BYTES))
                digest.update(file.read(EDGE_BYTES))
        except OSError as error:
            raise DataError(f"cannot read the file: {error.strerror}", str(one), "check the path") from None
        size, changed = size + facts.st_size, max(changed, facts.st_mtime_ns)
    return {"path": str(path.absolute()), "size": size, "mtime_ns": changed, "sha256": digest.hexdigest()}


def read_file(path: Path, options: ReadOptions, mark: Cursor) -> ItemStream:
    """A file's items from a mark on. What cannot be read at all is one failure of the whole file."""
    try:
        if path.suffix == PARQUET_SUFFIX:
            from rolesum.batch.parquet import read_rows

            yield from read_rows(path, options, mark)
        elif line_format := _line_format(path, options):
            yield from _by_line(path, replace(options, format=line_format), mark)
        else:
            items = read_items(str(path), options)
            for number, item in enumerate(islice(items, mark.offset, None), mark.offset + 1):
                yield Cursor(number), _item(item)
    except DataError as error:
        yield Cursor(mark.offset + 1), _joined([replace(one, where=one.where or str(path)) for one in error.problems])


def _line_format(path: Path, options: ReadOptions) -> str | None:
    """The format of a file of JSON lines, or None where it is to be read whole.

    Such a file has an object in its first line; where its name says what it is, one of the first lines will do.
    """
    if path.is_dir() or options.columns or options.format not in (None, *LINE_FORMATS):
        return None
    with closing(path.open("rb")) as file:
        first = [text for raw in islice(file, SNIFFED_LINES) if (text := raw.decode("utf-8-sig", "replace")).strip()]
    for text in first if path.suffix in LINE_SUFFIXES else first[:1]:
        source = Source(str(path), text)
        if not text.lstrip().startswith("{") or not isinstance(source.first_record, dict):
            continue
        name = options.format or next((one for one in LINE_FORMATS if FORMATS[one].matches(source)), None)
        return name if name and (options.format or sniff_format(source).name == name) else None
    return None


def _by_line(path: Path, options: ReadOptions, mark: Cursor) -> ItemStream:
    name, offset, number = str(path), mark.offset, mark.line
    with path.open("rb") as file:
        file.seek(offset)
        for raw in file:
            here, offset, number = number, offset + len(raw), number + 1
            try:
                text = raw.decode("utf-8-sig" if here == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                fix = "save the file as UTF-8"
                bad = Failure(None, f"{name}:{here}", f"not UTF-8: byte 0x{raw[error.start]:02x}", fix)
                yield Cursor(offset, number), bad
                continue
            if text:
                yield Cursor(offset, number), parse_record(text, name, here, options)


def parse_record(text: str, name: str, number: int, options: ReadOptions) -> Dialogue | Failure:
    """The dialogue of one JSON object, which stands in line or row `number` of a file."""
    if not text.startswith("{"):
        return Failure(None, f"{name}:{number}", "not a JSON object", "each line must be one JSON object")
    first, place = f"{name}:1", f"{name}:{number}"
    items = list(read_items(Source(name, text), options))
    if len(items) == 1 and isinstance(items[0], Dialogue):
        return replace(items[0], source=place)
    problems = [one for one in items if isinstance(one, Problem)]
    return _joined([replace(one, where=place + one.where.removeprefix(first)) for one in problems])


def _item(item: Dialogue | Problem) -> Dialogue | Failure:
    return item if isinstance(item, Dialogue) else _joined([item])


def _joined(problems: Sequence[Problem]) -> Failure:
    """One failure for all that is wrong with a record."""
    where, sign, identity = problems[0].where.rpartition(", id ")
    what = "; ".join(dict.fromkeys(one.what for one in problems))
    fix = "; ".join(dict.fromkeys(one.fix for one in problems if one.fix))
    return Failure(identity if sign else None, where if sign else identity, what, fix)
