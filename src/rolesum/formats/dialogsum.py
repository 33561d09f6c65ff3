"""DialogSum: JSON lines of {fname, dialogue: "#Person1#: …", summary or summary1, summary2, summary3, topic}."""

from collections.abc import Iterator
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.errors import Problem
from rolesum.formats.records import text_dialogue
from rolesum.formats.source import Format, Record, Source, is_valid_id
from rolesum.roles import OVERALL

SUMMARIES = ("summary", "summary1", "summary2", "summary3")
TOPICS = ("topic", "topic1", "topic2", "topic3")


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    return is_record(record)


def is_record(value: Any) -> bool:
    """Whether a record is of this format and not SAMSum's, whose dialogues have an id."""
    return isinstance(value, dict) and "fname" in value and "id" not in value and isinstance(value.get("dialogue"), str)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for record in source.records():
        yield _dialogue(record) if isinstance(record, Record) else record


def _dialogue(record: Record) -> Dialogue | Problem:
    value: Any = record.value
    if not isinstance(value, dict) or not is_valid_id(value.get("fname")) or not isinstance(value.get("dialogue"), str):
        return Problem("not a DialogSum record: fname and dialogue are needed", record.location, "see docs/formats.md")
    references = [value[key] for key in SUMMARIES if value.get(key) is not None]
    topics = [value[key] for key in TOPICS if value.get(key)]
    meta = {"topics": topics} if topics else {}
    return text_dialogue(record, value["fname"], value["dialogue"], {OVERALL: references}, label="#Person1#", meta=meta)


FORMAT = Format(
    "dialogsum", 'DialogSum: {fname, dialogue: "#Person1#: …", summary or summary1 to summary3}', matches, read
)
