"""Tables whose columns the user names: a row is a turn, or, with a column of "Speaker: text" lines, a dialogue.

A table is CSV or TSV, or Parquet or JSON in which each row is an object of texts and numbers.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.formats.options import SUMMARY, check_field_names, is_summary_field, parse_field_map
from rolesum.formats.records import text_dialogue
from rolesum.formats.source import Format, Record, Source
from rolesum.formats.summary_fields import mapped_summaries, summary_columns
from rolesum.formats.turns import one_line
from rolesum.roles import RoleAliases, roles_of_speakers

FIELDS = ("id", "speaker", "text", "time", "role", "dialogue", SUMMARY)
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
    check_fields(columns)
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


@dataclass(frozen=True)
class _Table:
    """A table's columns, and those that are read: of each field, and of each role's summaries."""

    delimiter: str
    names: Sequence[str]
    fields: Mapping[str, str]
    summaries: Mapping[str, tuple[str, ...]]

    @property
    def columns(self) -> list[str]:
        return [*self.fields.values(), *(name for names in self.summaries.values() for name in names)]


@dataclass(frozen=True)
class _Row:
    """One row: field -> its text, and role -> its summaries, those that are not empty."""

    record: Record
    cells: Mapping[str, str]
    summaries: Mapping[str, list[str]]


def read(
    source: Source, columns: Mapping[str, str] | None = None, roles: RoleAliases | None = None
) -> Iterator[Dialogue | Problem]:
    """The table's dialogues. `columns` maps a field to its column; a field's own name needs no mapping.

    A column such as `summary_user` or `agent summary` has the summaries of a role. `roles` maps custom roles to their
    aliases. Raises UsageError for columns that the table does not have.
    """
    header = _header_location(source)
    try:
        table = _find_columns(source, columns or {}, roles)
    except DataError as error:
        yield replace(error.problems[0], where=header)
        return
    if not any(need <= table.fields.keys() for need in REQUIRED_FIELDS):
        names = ", ".join(table.names)[:200]
        what = f"no column is known for speaker and text, or for dialogue (the file has: {names})"
        yield Problem(what, header, f"map them: {_OPTION} {_EXAMPLE}")
    elif twice := [column for column in table.columns if table.names.count(column) > 1]:
        yield Problem(f"the column {twice[0]} is there twice", header, "rename one of them")
    elif "dialogue" in table.fields:
        yield from _dialogue_rows(source, table)
    else:
        yield from _turn_rows(source, table)


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


def check_fields(columns: Mapping[str, str]) -> None:
    """Raise UsageError for a field that does not exist, and where both a turn and a dialogue are mapped."""
    check_field_names(columns, FIELDS, _OPTION)
    if "dialogue" in columns and _OF_TURN & columns.keys():
        fix = "map dialogue, or speaker and text"
        raise UsageError("a row is either a turn or a whole dialogue", _OPTION, fix)


def _find_columns(source: Source, given: Mapping[str, str], roles: RoleAliases | None) -> _Table:
    """The delimiter that splits the header into most of the wanted columns, and these columns."""
    check_fields(given)
    mapped = mapped_summaries(given, _OPTION, roles)
    best = _Table(",", _names(source, ","), {}, {})
    for delimiter in (",",) if source.is_json else DELIMITERS:
        names = _names(source, delimiter)
        own = {name.lower(): name for name in reversed(names) if name.lower() in FIELDS and name.lower() != SUMMARY}
        # where text is mapped, a row is a turn, and a column called dialogue is not used
        others = _OF_TURN if "dialogue" in given else {"dialogue"} if "text" in given else set()
        fields = {name: column for name, column in own.items() if name not in others} | {
            name: column for name, column in given.items() if column in names and not is_summary_field(name)
        }
        unmapped = [name for name in names if name not in given.values()]
        summaries = {
            **{role: tuple(column for column in columns if column in names) for role, columns in mapped.items()},
            **summary_columns(unmapped, roles, but=mapped),
        }
        found = _Table(delimiter, names, fields, summaries)
        if len(found.columns) > len(best.columns):
            best = found
    if missing := [column for column in given.values() if column not in best.names]:
        what = f"the table has no column {', '.join(missing)}"
        raise UsageError(what, _header_location(source), did_you_mean(missing[0], best.names))
    return best


def _names(source: Source, delimiter: str) -> list[str]:
    """The names of the table's columns; of JSON, the keys of all its objects."""
    if not source.is_json:
        return csv_header(source, delimiter)
    values = (item.value for item in source.records() if isinstance(item, Record))
    return list(dict.fromkeys(str(key) for value in values if isinstance(value, dict) for key in value))


def _rows(source: Source, table: _Table) -> Iterator[_Row | Problem]:
    for record in source.records() if source.is_json else csv_records(source, table.delimiter):
        if isinstance(record, Problem):
            yield record
        elif not isinstance(record.value, dict):
            yield Problem("not a JSON object", record.location, "each row must be an object of its columns")
        elif (cells := _cells(record.value, table.columns)) is None:
            what = "a column holds neither texts nor numbers"
            yield Problem(what, record.location, "read nested JSON with --json-path")
        else:
            summaries = {role: [cells[one] for one in names if cells[one]] for role, names in table.summaries.items()}
            yield _Row(record, {name: cells[column] for name, column in table.fields.items()}, summaries)


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str] | None:
    """The texts of a row's columns, empty where there is none; None where a value is neither text nor number."""
    cells = {column: row.get(column) for column in columns}
    if not all(cell is None or isinstance(cell, str | int | float) for cell in cells.values()):
        return None
    return {column: _cell_text(cell).strip() for column, cell in cells.items()}


def _cell_text(cell: str | float | None) -> str:
    if isinstance(cell, float) and cell.is_integer():  # as pandas writes whole numbers beside empty cells
        return str(int(cell))
    return "" if cell is None else str(cell)


def _dialogue_rows(source: Source, table: _Table) -> Iterator[Dialogue | Problem]:
    stem = source.stem
    for number, row in enumerate(_rows(source, table), 1):
        if isinstance(row, Problem):
            yield row
            continue
        if identity := row.cells.get("id", f"{stem}-{number}"):
            yield text_dialogue(row.record, identity, row.cells["dialogue"], row.summaries)
        else:
            yield Problem("the row has no id", row.record.location, "give each dialogue an id")


@dataclass
class _DialogueRows:
    """The rows of one dialogue as they come."""

    place: str
    turns: list[Turn] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, dict[str, None]] = field(default_factory=dict)
    broken: bool = False


def _turn_rows(source: Source, table: _Table) -> Iterator[Dialogue | Problem]:
    """The dialogues of a table of turns, which may lie mixed; without ids the table is one dialogue.

    A row that cannot be read may belong to the dialogue above it, which is then left out.
    """
    groups: dict[str, _DialogueRows] = {}
    last: _DialogueRows | None = None
    stem = source.stem
    for row in _rows(source, table):
        if isinstance(row, Problem):
            yield row
            if last:
                last.broken = True
            continue
        identity, place = row.cells.get("id", stem), row.record.location
        if not identity:
            yield Problem("the row has no id", place, "give each row the id of its dialogue")
            continue
        last = groups.setdefault(identity, _DialogueRows(place))
        if problem := _add_row(last, row, f"{place}, id {identity}"):
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
            summaries={role: tuple(texts) for role, texts in group.summaries.items() if texts},
            source=group.place,
        )


def _add_row(group: _DialogueRows, row: _Row, place: str) -> Problem | None:
    cells = row.cells
    speaker, role = cells.get("speaker", ""), cells.get("role", "")
    if cells["text"]:
        group.turns.append(Turn(speaker, one_line(cells["text"]), cells.get("time", "")))
    for summarized, texts in row.summaries.items():
        group.summaries.setdefault(summarized, {}).update(dict.fromkeys(texts))
    if role and not speaker:
        return Problem("a role, but no speaker who plays it", place, "fill the speaker's cell")
    if role and group.roles.setdefault(speaker, role) != role:
        what = f"{speaker} plays {role} here and {group.roles[speaker]} above"
        return Problem(what, place, "give a speaker one role in a dialogue")
    return None


FORMAT = Format(
    "csv",
    "CSV or TSV: a turn a row (id, speaker, text, time, role, summary, summary_user …) or a dialogue a row (id, "
    "dialogue, summary …); --columns",
    matches,
    read,
)
