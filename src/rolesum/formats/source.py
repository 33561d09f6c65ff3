"""Data files as the readers see them: decoded text, JSON records with their lines, and exports of many files."""

import hashlib
import io
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

from rolesum import strict_json
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, SizeError, did_you_mean
from rolesum.formats import parquet
from rolesum.formats.docx import DOCUMENT, document_text
from rolesum.formats.encodings import PACKED_SUFFIXES, SURE_ENCODINGS, UTF8, decode, unpack
from rolesum.formats.options import DEFAULT_LIMITS, SourceLimits
from rolesum.os_errors import cannot_read, os_error

STDIN = "-"
STDIN_NAME = "standard input"  # in messages
SAMPLE = "sample:"

_TRIED = 100_000  # values of a file that are tried, to find one that can be read

_ARRAY_START = re.compile(r"\s*\[")
_BETWEEN = re.compile(r"[ \t\n,]*+")  # the values of an array
# An object, or an array of values. A chat line such as "[客服]小王：…" or a text "{name} said …" begins so too.
_JSON_START = re.compile(r"""\s*(\{\s*(["'}]|\w+\s*:)|\{[ \t]*(\n|$)|\[\s*([{\["\]]|$))""")


# A Slack export has files of its members and channels, and a file for each channel and day. An export of one channel
# may lack the others.
MEMBERS = ("users.json", "org_users.json")
CHANNELS = ("channels.json", "groups.json", "mpims.json")
_DAY = re.compile(r"[^/]+/\d{4}-\d{2}-\d{2}\.json")
_IS_DAY_IN_ZIP = re.compile(rf"(?:^|/){_DAY.pattern}$")

# What a JSON value stands behind, and strings, whose contents are no values. A string may lack its end.
_VALUE_OR_STRING = re.compile(r'[\[{,]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_CELL_DELIMITERS = "\t;|"  # of tables, beside the comma

_ZIP_ENTRY = b"PK\x01\x02"  # begins each entry of a zip's directory

_WHAT_IS_READ = (
    "name a file, or a Slack export: the directory or zip that holds users.json or a folder for each channel"
)


@dataclass(frozen=True)
class Record:
    """One JSON value of a file, with the file and line where it begins."""

    value: Any
    location: str  # "file:line"


@dataclass(frozen=True)
class Source:
    """A file's text without BOM and with \\n line ends; `name` is its name in error messages.

    An export of many files has them in `files`, by their paths in it; its `text` lists them with their digests.
    `encoding` is the one that the file was read as.
    """

    name: str
    text: str
    files: Mapping[str, str] = field(default_factory=dict, hash=False)
    encoding: str = UTF8
    is_json: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_json", not self.files and _JSON_START.match(self.text) is not None)

    @property
    def stem(self) -> str:
        """The file's name without its ending, which is the id of a dialogue that has none: call.vtt.gz is call."""
        return "stdin" if self.name == STDIN_NAME else self._unpacked_path.stem

    @property
    def suffix(self) -> str:
        """The ending of the file's name in lower case, without .gz or .zst: .csv."""
        return self._unpacked_path.suffix.lower()

    @property
    def _unpacked_path(self) -> Path:
        path = Path(self.name)
        return path.with_suffix("") if path.suffix.lower() in PACKED_SUFFIXES else path

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def first_record(self) -> Any:
        """The first JSON value that can be read, for sniffing; None where none is found."""
        begin = islice(self.records(), _TRIED)
        return next((item.value for item in begin if isinstance(item, Record)), None)

    def records(self) -> Iterator[Record | Problem]:
        """The file's JSON values, from a JSON array or from JSON lines; what cannot be read comes as a Problem."""
        try:
            yield from self._array() if _ARRAY_START.match(self.text) else self._lines()
        except RecursionError:
            yield Problem("JSON nested too deeply", self.name, "this is not a file of dialogues")

    def _lines(self) -> Iterator[Record | Problem]:
        for number, line in enumerate(self.lines, 1):
            if not line.strip():
                continue
            try:
                yield _checked(Record(json.loads(line), f"{self.name}:{number}"))
            except json.JSONDecodeError as error:
                if number == self._first_line and (whole := self._single_object()) is not None:
                    yield _checked(whole)
                    return
                yield Problem(
                    f"broken JSON: {error.msg} at column {error.colno}: {_excerpt(line, error.pos)}",
                    f"{self.name}:{number}",
                    "each line must be one JSON object; check for a missing quote, comma or a cut line",
                )
            except ValueError as error:  # a number of thousands of digits
                yield Problem(f"broken JSON: {error}", f"{self.name}:{number}", "mend or remove this line")

    def _array(self) -> Iterator[Record | Problem]:
        decoder, text = json.JSONDecoder(), self.text
        position, line, counted = text.index("[") + 1, 1, 0
        while True:
            position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # it matches anywhere
            if text[position : position + 1] == "]":
                if rest := text[position + 1 :].strip():
                    place = f"{self.name}:{text.count(chr(10), 0, position) + 1}"
                    yield Problem(f"text after the end of the JSON array: {rest[:40]!r}", place, "remove it")
                return
            line += text.count("\n", counted, position)
            counted = position
            try:
                value, position = decoder.raw_decode(text, position)
            except json.JSONDecodeError as error:
                column = error.pos - text.rfind("\n", 0, error.pos)
                what = f"broken JSON: {error.msg} at column {column}: {_excerpt(text, error.pos)}"
                fix = "mend this record; the rest of the array cannot be read before that"
                yield Problem(what, f"{self.name}:{error.lineno}", fix)
                return
            except ValueError as error:  # a number of thousands of digits
                yield Problem(f"broken JSON: {error}", f"{self.name}:{line}", "mend or remove this record")
                return
            yield _checked(Record(value, f"{self.name}:{line}"))

    @cached_property
    def _first_line(self) -> int:
        return next((n for n, line in enumerate(self.lines, 1) if line.strip()), 1)

    def _single_object(self) -> Record | None:
        """The whole file as one JSON object over several lines, or None."""
        try:
            return Record(json.loads(self.text), f"{self.name}:{self._first_line}")
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Format:
    """One file format: its name, what `--format` lists of it, and how it is recognized and read."""

    name: str
    description: str
    matches: Callable[[Source], bool]
    read: Callable[[Source], Iterator[Dialogue | Problem]]
    outranks: frozenset[str] = frozenset()  # formats of which it is a special case


def open_source(path: str | Path, encoding: str | None = None, *, may_be_blank: bool = False) -> Source:
    """Read a file, standard input (`-`), a bundled sample (`sample:en-test`), or an export: a directory or a zip.

    A file may be packed by gzip or zstd. Its encoding is UTF-8, that of its byte order mark, or a detected one, which
    is logged, unless `encoding` names it. Raises DataError.
    """
    name = str(path)
    if name == STDIN:
        if sys.stdin is None:
            raise DataError("there is no standard input", fix="name a file")
        raw, name = sys.stdin.buffer.read(), STDIN_NAME
    elif name.startswith(SAMPLE):
        raw = _sample(name.removeprefix(SAMPLE))
    elif Path(path).is_dir():
        return _export(name, _read_export_directory(Path(path)), DEFAULT_LIMITS)
    else:
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            raise cannot_read(error, name) from None
    if raw.startswith(parquet.MAGIC) and name != STDIN_NAME:
        return Source(name, "\n".join(parquet.parquet_lines(Path(path))))
    source = decode_source(raw, name, encoding=encoding, may_be_blank=may_be_blank)
    if encoding is None and source.encoding not in SURE_ENCODINGS:
        from rolesum.console import log  # here: rich takes time to import

        log(f"{name}: read as {source.encoding}; --encoding names another encoding")
    return source


def decode_source(
    raw: bytes,
    name: str,
    limits: SourceLimits = DEFAULT_LIMITS,
    *,
    encoding: str | None = None,
    may_be_blank: bool = False,
) -> Source:
    """What a file holds: text, packed text, or a zipped export.

    Raises DataError, also for what is over a limit and, unless it `may_be_blank`, for a file without text.
    """
    raw = unpack(raw, name, limits.max_bytes)
    if _is_zip(raw):
        files = _read_export_zip(raw, name, limits)
        if DOCUMENT not in files:
            return _export(name, files, limits)
        raw, encoding = document_text(files[DOCUMENT], name).encode(), UTF8
    decoded = decode(raw, name, encoding)
    text = with_newlines(decoded.text)
    if not may_be_blank and (not text or text.isspace()):
        raise DataError("the file is empty", name, "give it at least one dialogue")
    source = Source(name, text, encoding=decoded.encoding)
    check_num_values([source], name, limits.max_values)
    return source


def check_num_values(sources: Iterable[Source], name: str, max_values: int | None) -> None:
    """Raise SizeError if these sources have more than `max_values` JSON values, cells or lines together.

    Reads each text once, in a small part of the time that parsing takes; `name` is for the error message.
    """
    if max_values is None:
        return
    left = max_values
    for source in sources:
        left -= 1  # the value around the others
        if left >= 0:
            left -= _num_values(source, left)
        if left < 0:
            what = f"more than {max_values:,} JSON values, cells or lines"
            raise SizeError(what, name, "split it into several smaller files")


def _num_values(source: Source, most: int) -> int:
    """The number of values (an empty object or array counts twice), cells or lines; no more are counted than needed."""
    text, starts = source.text, "[{,"
    num_lines = text.count("\n")
    # an upper bound, which most texts are below: commas in strings count too
    bound = sum(map(text.count, starts if source.is_json else starts + _CELL_DELIMITERS))
    if bound <= most or not source.is_json:
        return max(num_lines, bound)
    found = (1 for token in _VALUE_OR_STRING.finditer(text) if token[0] in starts)
    return max(num_lines, sum(islice(found, most + 1)))


def records_with_ids(source: Source) -> Iterator[tuple[str, Record | Problem]]:
    """The records of a format that has no ids, with one each: the file's stem, numbered where there are several."""
    items = source.records()
    begin = list(islice(items, 2))
    for number, item in enumerate(chain(begin, items), 1):
        yield source.stem if len(begin) == 1 else f"{source.stem}-{number}", item


def _is_zip(raw: bytes) -> bool:
    return raw.startswith(b"PK\x03\x04")


def _read_export_directory(folder: Path) -> dict[str, bytes]:
    """The files of a Slack export by their paths in it. Raises DataError if the directory is not an export."""
    try:
        found = {
            path.relative_to(folder).as_posix(): path for path in (*folder.glob("*.json"), *folder.glob("*/*.json"))
        }
        if not any(map(_is_wanted, found)):  # perhaps the folder of one channel
            found = {f"{folder.resolve().name}/{name}": path for name, path in found.items() if "/" not in name}
        wanted = {name: path for name, path in found.items() if _is_wanted(name)}
        if not any(name in MEMBERS or _DAY.fullmatch(name) for name in wanted):
            what = "cannot read the file: it is a directory, and no Slack export"
            raise DataError(what, str(folder), _WHAT_IS_READ)
        return {name: path.read_bytes() for name, path in wanted.items()}
    except OSError as error:
        raise cannot_read(error) from None


def _read_export_zip(raw: bytes, name: str, limits: SourceLimits) -> dict[str, bytes]:
    """The files of a zipped Slack export; a folder around the whole export is ignored. Raises DataError."""
    if limits.max_files is not None and raw.count(_ZIP_ENTRY) > limits.max_files:  # before a list of them is made
        what = f"a zip of more than {limits.max_files:,} files"
        raise SizeError(what, name, "leave out channels or days, or unpack it and send the files of each channel")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            wanted = _wanted_entries(archive, name)
            size = sum(entry.file_size for entry in wanted.values())
            if size > limits.max_bytes:
                what = f"a zip of {size:,} bytes, unpacked; at most {limits.max_bytes:,} are read"
                raise SizeError(what, name, "unpack it, and name the directory")
            return {path: _unpacked(archive, entry) for path, entry in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        fix = "unpack it, and name the directory"
        raise os_error(error, "cannot read the zip", name, fix, kind=DataError) from None


def _wanted_entries(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """The entries that are read, by their paths: those of a Slack export, or the text of a Word document.

    Raises DataError.
    """
    entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
    if DOCUMENT in entries:
        return {DOCUMENT: entries[DOCUMENT]}
    around = [path.parent for entry in entries if (path := PurePosixPath(entry)).name in MEMBERS]
    if not around:  # an export of one channel
        days = map(PurePosixPath, filter(_IS_DAY_IN_ZIP.search, entries))
        around = [path.parent.parent for path in days if path.parts[0] != "__MACOSX"]
    if not around:
        raise DataError("a zip that is no Slack export", name, f"unpack it, or {_WHAT_IS_READ}")
    top = min(around, key=lambda path: len(path.parts))
    inside = {
        PurePosixPath(path).relative_to(top).as_posix(): entry
        for path, entry in entries.items()
        if PurePosixPath(path).is_relative_to(top)
    }
    return {path: entry for path, entry in inside.items() if _is_wanted(path)}


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of a zip's entry, which must be as many as the zip says: more are not unpacked."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a bound
        raise NotImplementedError(f"{entry.filename[:100]} is packed by another method than deflate")
    with archive.open(entry) as file:
        # without a number of bytes, read() would unpack all that there is
        found = file.read(entry.file_size + 1)
    if len(found) != entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename[:100]} does not have the size that the zip says")
    return found


def _is_wanted(path: str) -> bool:
    return path in (*MEMBERS, *CHANNELS) or _DAY.fullmatch(path) is not None


def _export(name: str, raw: Mapping[str, bytes], limits: SourceLimits) -> Source:
    files = {path: with_newlines(decode(raw[path], f"{name}/{path}").text) for path in sorted(raw)}
    check_num_values((Source(path, text) for path, text in files.items()), name, limits.max_values)
    listed = [f"{path} {hashlib.sha256(text.encode()).hexdigest()}" for path, text in files.items()]
    return Source(name, "\n".join(listed), files)


def with_newlines(text: str) -> str:
    """The text with \\n at the ends of its lines, and without byte order marks at their starts.

    A file that was put together from several has one at each file's start.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n\ufeff", "\n")


def _checked(record: Record) -> Record | Problem:
    """The record with null for NaN and infinities, which are no JSON, though some programs write them.

    Half of a surrogate pair (a cut emoji), which cannot be encoded as UTF-8, is a Problem.
    """
    try:
        json.dumps(record.value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        fix = "remove the escape that begins with \\ud from this record"
        return Problem("half of an emoji (a lone surrogate)", record.location, fix)
    except ValueError:
        return _checked(Record(strict_json.finite(record.value), record.location))
    return record


def is_valid_id(value: Any) -> bool:
    """Whether a value can be a dialogue's id: a text that is not blank, or a whole number."""
    return (isinstance(value, str) and bool(value.strip())) or (isinstance(value, int) and not isinstance(value, bool))


def _sample(name: str) -> bytes:
    folder = resources.files("rolesum.samples")
    known = sorted(entry.name.removesuffix(".jsonl") for entry in folder.iterdir() if entry.name.endswith(".jsonl"))
    if name not in known:
        raise DataError(f'no bundled sample "{name}"', fix=did_you_mean(name, known))
    return folder.joinpath(f"{name}.jsonl").read_bytes()


def _excerpt(text: str, position: int) -> str:
    return repr(text[max(0, position - 20) : position + 20])
