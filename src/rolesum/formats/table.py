"""CSV and TSV whose columns the user names: a row is a turn, or, with a column of "Speaker: text" lines, a dialogue."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem, UsageError, did_you_mean
from rolesum.formats.options import check_field_names, parse_field_map
from rolesum.formats.records import text_dialogue
from rolesum.formats.source import Format, Record, Source
from rolesum.formats.turns import one_line
from rolesum.roles import OVERALL, roles_of_speakers

FIELDS = ("id", "speaker", "text", "time", "role", "dialogue", "summary")
_OF_TURN = {"speaker", "text", "time", "role"}  # fields of a row that is a turn
REQUIRED_FIELDS = ({"speaker", "text"}, {"text"}, {"dialogue"})
DELIMITERS = ("\t", ",", ";", "|")
_SEPARATOR_LINE = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # Excel's line above the header that names the delimiter
_MARKDOWN_RULE = re.compile(r":?-+:?|")  # a cell of the line below a Markdown table's header
_OPTION = "--columns"
_EXAMPLE = "id=call_id,speaker=who,text=utterance"

# A cell may hold a whole dialogue: csv's own limit is 131,072 characters. The largest C long of every platform.
csv.field_size_limit(2**31 - 1)


def parse_columns(text: str) -> dict[str, str]:
    """Parse --columns, such as "id=call_id,speaker=who,text=utterance", into field -> column. Raises UsageError."""
    columns = parse_field_map(text, _OPTION, _EXAMPLE)
    _check_fields(columns)
    return columns


def matches(source: Source) -> bool:
    """Whether the first line has the fields' own names; SAMSum's columns id and dialogue are SAMSum's."""
    if source.is_json or source.files or set(csv_header(source)) >= {"id", "dialogue"}:
        return False
    return any(
        {"speaker", "text"} <= names or ("dialogue" in names and len(names) > 1)
        for delimiter in DELIMITERS
        if (names := {name.lower() for name in csv_header(source, delimiter)})
    )


def read(source: Source, columns: Mapping[str, str] | None = None) -> Iterator[Dialogue | Problem]:
    """The table's dialogues. `columns` maps a field to its column; a field's own name needs no mapping.

    Raises UsageError for columns that the table does not have.
    """
    delimiter, found = _columns(source, columns or {})
    header = _header_location(source)
    if not any(need <= found.keys() for need in REQUIRED_FIELDS):
        names = ", ".join(csv_header(source, delimiter))
        what = f"no column is known for speaker and text, or for dialogue (the file has: {names[:200]})"
        yield Problem(what, header, f"map them: {_OPTION} {_EXAMPLE}")
    elif twice := [column for column in found.values() if csv_header(source, delimiter).count(column) > 1]:
        yield Problem(f"the column {twice[0]} is there twice", header, "rename one of them")
    elif "dialogue" in found:
        yield from _dialogue_rows(source, delimiter, found)
    else:
        yield from _turn_rows(source, delimiter, found)


def csv_header(source: Source, delimiter: str = ",") -> list[str]:
    """The names in the first line, or in the second where the first names the delimiter: sep=;"""
    try:
        cells = next(csv.reader(source.lines[_header_place(source) :][:1], delimiter=delimiter), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def _header_place(source: Source) -> int:
    """The number of lines above the header."""
    return int(_SEPARATOR_LINE.fullmatch(source.lines[0].rstrip(",;\t|")) is not None)


def _header_location(source: Source) -> str:
    return f"{source.name}:{_header_place(source) + 1}"


def csv_records(source: Source, delimiter: str = ",") -> Iterator[Record | Problem]:
    """Each row as a record of column -> cell; a row of the wrong length and broken quotes come as a Problem."""
    text, above = io.StringIO(source.text, newline=""), _header_place(source)
    for _ in range(above):
        text.readline()
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    line = above + 2  # where the current row begins
    try:
        names = [name.strip() for name in next(reader, [])]
        for row in reader:
            if not row:
                continue
            while line < len(source.lines) and not source.lines[line - 1]:  # the csv module skips empty lines
                line += 1
            place, line = f"{source.name}:{line}", above + reader.line_num + 1
            if delimiter == "|" and all(_MARKDOWN_RULE.fullmatch(cell.strip()) for cell in row):
                continue
            cells = dict(zip(names, row, strict=False))
            if len(row) != len(names):  # the message names no columns: a header may be far wider
                if any(cell.strip() for cell in cells.values()):
                    what = "the row has more or fewer cells than the header"
                    yield Problem(what, place, "put a text that holds commas in quotes")
                continue
            yield Record(cells, place)
    except csv.Error as error:
        yield Problem(f"broken CSV: {error}", f"{source.name}:{line}", "check the quotes of the row that begins here")


def _check_fields(columns: Mapping[str, str]) -> None:
    check_field_names(columns, FIELDS, _OPTION)
    if "dialogue" in columns and _OF_TURN & columns.keys():
        fix = "map dialogue, or speaker and text"
        raise UsageError("a row is either a turn or a whole dialogue", _OPTION, fix)


def _columns(source: Source, given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The delimiter that splits the header into most of the wanted columns, and field -> column."""
    _check_fields(given)
    best: tuple[str, dict[str, str]] = (",", {})
    for delimiter in DELIMITERS:
        names = csv_header(source, delimiter)
        own = {name.lower(): name for name in reversed(names) if name.lower() in FIELDS}
        # where text is mapped, a row is a turn, and a column called dialogue is not used
        others = _OF_TURN if "dialogue" in given else {"dialogue"} if "text" in given else set()
        found = {name: column for name, column in own.items() if name not in others} | {
            name: column for name, column in given.items() if column in names
        }
        if len(found) > len(best[1]):
            best = (delimiter, found)
    names = csv_header(source, best[0])
    if missing := [column for column in given.values() if column not in names]:
        what = f"the table has no column {', '.join(missing)}"
        raise UsageError(what, _header_location(source), did_you_mean(missing[0], names))
    return best


def _dialogue_rows(source: Source, delimiter: str, columns: Mapping[str, str]) -> Iterator[Dialogue | Problem]:
    stem = source.stem
    for number, record in enumerate(csv_records(source, delimiter), 1):
        if isinstance(record, Problem):
            yield record
            continue
        cells = {name: record.value[column].strip() for name, column in columns.items()}
        identity = cells.get("id", f"{stem}-{number}")
        if identity:
            yield text_dialogue(record, identity, cells["dialogue"], list(filter(None, [cells.get("summary")])))
        else:
            yield Problem("the row has no id", record.location, "give each dialogue an id")


@dataclass
class _DialogueRows:
    """The rows of one dialogue as they come."""

    place: str
    turns: list[Turn] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, None] = field(default_factory=dict)
    broken: bool = False


def _turn_rows(source: Source, delimiter: str, columns: Mapping[str, str]) -> Iterator[Dialogue | Problem]:
    """The dialogues of a table of turns, which may lie mixed; without ids the table is one dialogue.

    A row that cannot be read may belong to the dialogue above it, which is then left out.
    """
    groups: dict[str, _DialogueRows] = {}
    last: _DialogueRows | None = None
    stem = source.stem
    for record in csv_records(source, delimiter):
        if isinstance(record, Problem):
            yield record
            if last:
                last.broken = True
            continue
        cells = {name: record.value[column].strip() for name, column in columns.items()}
        identity = cells.get("id", stem)
        if not identity:
            yield Problem("the row has no id", record.location, "give each row the id of its dialogue")
            continue
        last = groups.setdefault(identity, _DialogueRows(record.location))
        if problem := _add_row(last, cells, f"{record.location}, id {identity}"):
            last.broken = True
            yield problem
    for identity, group in groups.items():
        if group.broken:
            continue
        if not group.turns:
            place = f"{group.place}, id {identity}"
            yield Problem("the dialogue has no turns", place, "mend or remove its rows, or skip its id")
            continue
        labels = {turn.speaker: None for turn in group.turns}
        told = {who: role for who, role in group.roles.items() if who in labels}
        yield Dialogue(
            id=identity,
            turns=tuple(group.turns),
            roles={**roles_of_speakers(list(labels)), **told},
            summaries={OVERALL: tuple(group.summaries)} if group.summaries else {},
            source=group.place,
        )


def _add_row(group: _DialogueRows, cells: Mapping[str, str], place: str) -> Problem | None:
    speaker, role = cells.get("speaker", ""), cells.get("role", "")
    if cells["text"]:
        group.turns.append(Turn(speaker, one_line(cells["text"]), cells.get("time", "")))
    if cells.get("summary"):
        group.summaries[cells["summary"]] = None
    if role and not speaker:
        return Problem("a role, but no speaker who plays it", place, "fill the speaker's cell")
    if role and group.roles.setdefault(speaker, role) != role:
        what = f"{speaker} plays {role} here and {group.roles[speaker]} above"
        return Problem(what, place, "give a speaker one role in a dialogue")
    return None


FORMAT = Format(
    "csv",
    "CSV or TSV: a turn a row (id, speaker, text, time, role) or a dialogue a row (id, dialogue, summary); --columns",
    matches,
    read,
)
