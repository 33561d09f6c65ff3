"""SAMSum: {id, dialogue: "A: …\\nB: …", summary} as a JSON array, JSON lines, or CSV with these columns."""

from collections.abc import Iterator
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.errors import Problem
from rolesum.formats.dialogsum import is_record as is_dialogsum
from rolesum.formats.records import text_dialogue
from rolesum.formats.source import Format, Record, Source, is_valid_id
from rolesum.formats.table import csv_header, csv_records


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
    summary = value.get("summary")
    return text_dialogue(record, value["id"], value["dialogue"], [] if summary is None else [summary])


def _is_csv(source: Source) -> bool:
    return not source.is_json and set(csv_header(source)) >= {"id", "dialogue"}


def _csv_records(source: Source) -> Iterator[Record | Problem]:
    if missing := {"id", "dialogue"} - set(csv_header(source)):
        what = f"the CSV has no column {' and '.join(sorted(missing))}"
        yield Problem(what, f"{source.name}:1", "name the columns id, dialogue and summary in the first line")
        return
    yield from csv_records(source)


FORMAT = Format("samsum", 'SAMSum: {id, dialogue: "Anna: …", summary}, JSON, JSON lines or CSV', matches, read)
