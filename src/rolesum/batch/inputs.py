"""Input files of a batch run as one stream of dialogues and failures that can be resumed at any position.

JSON lines are streamed line by line and Parquet (extra: parquet) by row groups, so memory does not grow with the file.
Other formats are read one whole file at a time.
"""

import glob
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rolesum.batch.worker import Failure
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats import FORMATS, ReadOptions, Source, read_items, sniff_format
from rolesum.formats.encodings import PACKED_MAGIC, UTF8, decode
from rolesum.formats.parquet import SUFFIX as PARQUET_SUFFIX
from rolesum.formats.parquet import parquet_lines
from rolesum.formats.source import STDIN

# Formats with one dialogue per line, each with its own id.
LINE_FORMATS = ("rolesum", "samsum", "csds", "tweetsumm", "dialogsum")
LINE_SUFFIXES = (".jsonl", ".ndjson")
# Formats whose export is a directory: with such a --format, a directory is one input.
DIRECTORY_FORMATS = ("slack",)
SNIFFED_LINES = 20
LISTED_CHARACTERS = 200  # of the names of unknown columns
_COLUMNS_FIX = (
    'rename them to id and turns (lists of {speaker, text}), or id and dialogue (lines of "Speaker: text"); '
    "see docs/formats.md"
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a file: byte offset and line number, or the number of items read in a format without lines."""

    offset: int = 0
    line: int = 1


# Each item with the position after it.
ItemStream = Iterator[tuple[Cursor, Dialogue | Failure]]


def expand_inputs(given: Sequence[str], out: Path, file_format: str | None = None) -> list[Path]:
    """The input files in order, from files, patterns and directories; hidden files and those in `out` are left out.

    Raises UsageError for standard input, DataError for a name without any file.
    """
    files: dict[Path, None] = {}
    for name in given:
        if name == STDIN:
            what = "a bulk run cannot be resumed from standard input"
            raise UsageError(what, fix="write it to a file, or use rolesum summarize")
        path = Path(name)
        if path.is_dir() and file_format not in DIRECTORY_FORMATS:
            found = _files_in(path, out)
        elif path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise UsageError("OUT lies in this input", name, "give an OUT beside it")
        elif path.is_file() or path.is_dir():
            found = [path]
        elif path.exists():
            raise UsageError("a bulk run cannot be resumed from a pipe or a device", name, "write it to a file")
        else:
            found = [Path(one) for one in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 - absolute ones too
            found = [one for one in found if one.is_file() and not one.resolve().is_relative_to(out.resolve())]
        if not found:
            raise DataError("no such file, and no file in it", name, "check the path or the pattern")
        files |= dict.fromkeys(found)
    return list(files)


def _files_in(folder: Path, out: Path) -> list[Path]:
    excluded = out.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.resolve().is_relative_to(excluded)
    ]


def read_file(path: Path, options: ReadOptions, cursor: Cursor) -> ItemStream:
    """A file's items from a position on. A file that cannot be read at all is one Failure."""
    try:
        if path.suffix.lower() == PARQUET_SUFFIX and not (options.columns or options.json_path):
            yield from _read_parquet(path, options, cursor)
        elif line_format := _line_format(path, options):
            yield from _read_lines(path, replace(options, format=line_format), cursor)
        else:
            items = read_items(str(path), options)
            for number, item in enumerate(islice(items, cursor.offset, None), cursor.offset + 1):
                yield Cursor(number), item if isinstance(item, Dialogue) else _failure([item])
    except DataError as error:
        problems = [replace(one, where=one.where or str(path)) for one in error.problems]
        yield Cursor(cursor.offset + 1), _failure(problems)


def _line_format(path: Path, options: ReadOptions) -> str | None:
    """The format of a JSON-lines file, or None if the file must be read whole.

    The first line must be a JSON object; with the suffix .jsonl or .ndjson, one of the first lines.
    """
    if path.is_dir() or options.columns or options.json_path or options.encoding not in (None, UTF8):
        return None
    if options.format not in (None, *LINE_FORMATS):
        return None
    with closing(path.open("rb")) as file:
        begin = list(islice(file, SNIFFED_LINES))
    if not _has_utf8_lines(b"".join(begin)):
        return None
    first = [text for raw in begin if (text := raw.decode("utf-8-sig", "replace")).strip()]
    for text in first if path.suffix in LINE_SUFFIXES else first[:1]:
        source = Source(str(path), text)
        if not text.lstrip().startswith("{") or not isinstance(source.first_record, dict):
            continue
        name = options.format or next((one for one in LINE_FORMATS if FORMATS[one].matches(source)), None)
        return name if name and (options.format or sniff_format(source).name == name) else None
    return None


def _has_utf8_lines(begin: bytes) -> bool:
    """Whether the lines of a file can be read one by one: it is not packed, and not of another encoding."""
    if b"\x00" in begin or begin.startswith(PACKED_MAGIC):
        return False
    try:
        encoding = decode(begin, "").encoding
    except DataError:
        return True  # each line that is not UTF-8 is a failure of its own
    return encoding == UTF8 or encoding.startswith("utf-16")  # without zero bytes, it only begins as UTF-16 does


def _read_lines(path: Path, options: ReadOptions, cursor: Cursor) -> ItemStream:
    """The items of a JSON-lines file from a position on."""
    name, offset, number = str(path), cursor.offset, cursor.line
    with path.open("rb") as file:
        file.seek(offset)
        for raw in file:
            here, offset, number = number, offset + len(raw), number + 1
            try:
                text = raw.decode("utf-8-sig").strip()  # a file that was put together from several has several marks
            except UnicodeDecodeError as error:
                what, fix = f"not UTF-8: byte 0x{raw[error.start]:02x}", "save the file as UTF-8"
                yield Cursor(offset, number), Failure(None, f"{name}:{here}", what, fix)
                continue
            if text:
                yield Cursor(offset, number), _parse_record(text, name, here, options)


def _read_parquet(path: Path, options: ReadOptions, cursor: Cursor) -> ItemStream:
    """The items of a Parquet file from a position on, each row taken as the JSON object of its columns.

    The columns are those of a format with one dialogue per line, such as `id` and `turns` (structs of speaker and text)
    or `id` and `dialogue` (text). With `turns`, columns and fields of structs that rolesum's format does not have are
    ignored. Raises DataError for a file that is not Parquet or has other columns.
    """
    name = options.format
    if name not in (None, *LINE_FORMATS):
        raise UsageError(f"Parquet holds no {name}", str(path), f"leave --format out, or: {', '.join(LINE_FORMATS)}")
    for number, text in enumerate(parquet_lines(path, cursor.offset), cursor.offset + 1):
        if name is None:
            name = next((one for one in LINE_FORMATS if FORMATS[one].matches(Source(str(path), text))), None)
        if name is None:
            columns = ", ".join(json.loads(text))
            what = f"the columns are of no known format: {columns[:LISTED_CHARACTERS]}"
            raise DataError(what + "…" * (len(columns) > LISTED_CHARACTERS), f"{path}, row:{number}", _COLUMNS_FIX)
        yield Cursor(number), _parse_record(text, f"{path}, row", number, replace(options, format=name))


def _parse_record(text: str, name: str, number: int, options: ReadOptions) -> Dialogue | Failure:
    """The dialogue of one JSON object, which is line or row `number` of a file."""
    if not text.startswith("{"):
        return Failure(None, f"{name}:{number}", "not a JSON object", "each line must be one JSON object")
    first, location = f"{name}:1", f"{name}:{number}"
    items = list(read_items(Source(name, text), options))
    if len(items) == 1 and isinstance(items[0], Dialogue):
        return replace(items[0], source=location)
    problems = [one for one in items if isinstance(one, Problem)]
    return _failure([replace(one, where=location + one.where.removeprefix(first)) for one in problems])


def _failure(problems: Sequence[Problem]) -> Failure:
    """One Failure for all problems of a record."""
    where, separator, identity = problems[0].where.rpartition(", id ")
    what = "; ".join(dict.fromkeys(one.what for one in problems))
    fix = "; ".join(dict.fromkeys(one.fix for one in problems if one.fix))
    return Failure(identity if separator else None, where if separator else identity, what, fix)
