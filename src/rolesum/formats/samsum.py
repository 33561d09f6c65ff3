"""SAMSum: {id, dialogue: "A: …\\nB: …", summary} as a JSON array, JSON lines, or CSV with these columns."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem
from rolesum.formats.dialogsum import is_record as is_dialogsum
from rolesum.formats.records import text_dialogue
from rolesum.formats.source import Format, Record, Source, is_valid_id
from rolesum.formats.summary_fields import summary_columns
from rolesum.formats.table import csv_header, csv_records
from rolesum.roles import OVERALL, RoleAliases


def matches(source: Source) -> bool:
    if source.is_json:
        record = source.first_record
        return isinstance(record, dict) and isinstance(record.get("dialogue"), str) and not is_dialogsum(record)
    return _is_csv(source)


def read(source: Source, roles: RoleAliases | None = None) -> Iterator[Dialogue | Problem]:
    """The dialogues, with summaries of roles where there are keys or columns for them, such as summary_user.

    `roles` maps custom roles to their aliases.
    """
    columns: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}  # of records of the same keys
    for record in source.records() if source.is_json else _csv_records(source, roles):
        yield _dialogue(record, roles, columns) if isinstance(record, Record) else record


def _dialogue(
    record: Record, roles: RoleAliases | None, columns: dict[tuple[str, ...], dict[str, tuple[str, ...]]]
) -> Dialogue | Problem:
    value: Any = record.value
    if not isinstance(value, dict) or not isinstance(value.get("dialogue"), str) or not is_valid_id(value.get("id")):
        return Problem("not a SAMSum record: id and dialogue are needed", record.location, "see docs/formats.md")
    keys = tuple(map(str, value))
    try:
        of_roles = columns[keys] if keys in columns else columns.setdefault(keys, summary_columns(keys, roles))
    except DataError as error:
        return replace(error.problems[0], where=f"{record.location}, id {value['id']}")
    # an empty summary is a fault in SAMSum; beside columns for roles, it is one that was not written
    absent = (None,) if of_roles == {OVERALL: ("summary",)} else (None, "")
    references = {role: [value[one] for one in names if value[one] not in absent] for role, names in of_roles.items()}
    return text_dialogue(record, value["id"], value["dialogue"], references)


def _is_csv(source: Source) -> bool:
    return not source.is_json and set(csv_header(source)) >= {"id", "dialogue"}


def _csv_records(source: Source, roles: RoleAliases | None) -> Iterator[Record | Problem]:
    header, place = csv_header(source), f"{source.name}:1"
    if missing := {"id", "dialogue"} - set(header):
        what = f"the CSV has no column {' and '.join(sorted(missing))}"
        yield Problem(what, place, "name the columns id, dialogue and summary in the first line")
        return
    try:
        wanted = ["id", "dialogue", *(name for names in summary_columns(header, roles).values() for name in names)]
    except DataError as error:
        yield replace(error.problems[0], where=place)
        return
    if twice := [name for name in wanted if header.count(name) > 1]:
        yield Problem(f"the column {twice[0]} is there twice", place, "rename one of them")
        return
    yield from csv_records(source)


FORMAT = Format("samsum", 'SAMSum: {id, dialogue: "Anna: …", summary}, JSON, JSON lines or CSV', matches, read)
