"""SAMSum: {id, dialogue: "A: …\\nB: …", summary} as a JSON array, JSON lines, or CSV with these columns."""

from collections.abc import Iterator
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.errors import Problem
from rolesum.formats.dialogsum import is_record as is_dialogsum
from rolesum.formats.rows import csv_header, csv_records
from rolesum.formats.source import Record, Source, is_valid_id
from rolesum.formats.turns import parse_turns
from rolesum.roles import OVERALL, roles_of_speakers

NAME = "samsum"
DESCRIPTION = 'SAMSum: {id, dialogue: "Anna: …", summary}, JSON, JSON lines or CSV'


def matches(source: Source) -> bool:
    if source.is_json:
        record = source.first_record
        return isinstance(record, dict) and isinstance(record.get("dialogue"), str) and not is_dialogsum(record)
    return _is_csv(source)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for record in source.records() if source.is_json else _csv_records(source):
        yield _dialogue(record) if isinstance(record, Record) else record


def _dialogue(record: Record) -> Dialogue | Problem:
    value: Any = record.value
    if not isinstance(value, dict) or not isinstance(value.get("dialogue"), str) or not is_valid_id(value.get("id")):
        return Problem("not a SAMSum record: id and dialogue are needed", record.location, "see docs/formats.md")
    place = f"{record.location}, id {value['id']}"
    turns, stray = parse_turns(value["dialogue"])
    if not turns:
        return Problem("the dialogue has no turns", place, "mend or remove the record, or skip its id")
    if stray:
        return Problem('the dialogue does not begin with "Speaker: text"', place, "name the first line's speaker")
    summary = value.get("summary")
    if summary is not None and (not isinstance(summary, str) or not summary.strip()):
        return Problem("the summary is empty or not a text", place, "mend or remove the record, or skip its id")
    return Dialogue(
        id=str(value["id"]),
        turns=tuple(turns),
        roles=roles_of_speakers([turn.speaker for turn in turns]),
        summaries={OVERALL: (summary.strip(),)} if summary else {},
        source=record.location,
    )


def _is_csv(source: Source) -> bool:
    return not source.is_json and set(csv_header(source)) >= {"id", "dialogue"}


def _csv_records(source: Source) -> Iterator[Record | Problem]:
    if missing := {"id", "dialogue"} - set(csv_header(source)):
        what = f"the CSV has no column {' and '.join(sorted(missing))}"
        yield Problem(what, f"{source.name}:1", "name the columns id, dialogue and summary in the first line")
        return
    yield from csv_records(source)
