"""DialogSum: JSON lines of {fname, dialogue: "#Person1#: …", summary or summary1, summary2, summary3, topic}."""

from collections.abc import Iterator
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.errors import Problem
from rolesum.formats.source import Record, Source, is_valid_id
from rolesum.formats.turns import parse_turns
from rolesum.roles import OVERALL, roles_of_speakers

NAME = "dialogsum"
DESCRIPTION = 'DialogSum: {fname, dialogue: "#Person1#: …", summary or summary1 to summary3}'

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
    place = f"{record.location}, id {value['fname']}"
    turns, stray = parse_turns(value["dialogue"])
    if not turns:
        return Problem("the dialogue has no turns", place, "mend or remove the record, or skip its id")
    if stray:
        return Problem('the dialogue does not begin with "#Person1#: text"', place, "name the first line's speaker")
    written = [value[key] for key in SUMMARIES if value.get(key) is not None]
    if not all(isinstance(text, str) and text.strip() for text in written):
        return Problem("a summary is empty or not a text", place, "mend or remove the record, or skip its id")
    topics = [value[key] for key in TOPICS if value.get(key)]
    return Dialogue(
        id=str(value["fname"]),
        turns=tuple(turns),
        roles=roles_of_speakers([turn.speaker for turn in turns]),
        summaries={OVERALL: tuple(text.strip() for text in written)} if written else {},
        meta={"topics": topics} if topics else {},
        source=record.location,
    )
