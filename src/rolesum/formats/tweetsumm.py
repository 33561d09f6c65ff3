"""TweetSumm as {id, turns: [text], refs: [{user, agent}]}: customer service on Twitter, about three annotators each.

The turns carry no speaker. The customer writes first and the two sides alternate; the dialogue's meta says that the
speakers were inferred so.
"""

from collections.abc import Iterator
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.records import record_dialogue
from rolesum.formats.source import Format, Record, Source, is_valid_id
from rolesum.roles import AGENT, USER

SPEAKERS = ("Customer", "Agent")


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    turns = record.get("turns") if isinstance(record, dict) else None
    return isinstance(turns, list) and bool(turns) and all(isinstance(turn, str) for turn in turns)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for record in source.records():
        yield _dialogue(record) if isinstance(record, Record) else record


def _dialogue(record: Record) -> Dialogue | Problem:
    value: Any = record.value
    if not isinstance(value, dict) or not is_valid_id(value.get("id")) or not isinstance(value.get("turns"), list):
        return Problem("not a TweetSumm record: id and turns are needed", record.location, "see docs/formats.md")
    place = f"{record.location}, id {value['id']}"
    texts = value["turns"]
    if not all(isinstance(text, str) for text in texts):
        return Problem("a turn is not a text", place, "mend or remove the record")
    turns = [Turn(SPEAKERS[index % 2], text.strip()) for index, text in enumerate(texts) if text.strip()]
    references = value.get("refs") or []
    if not isinstance(references, list) or not all(_is_reference(reference) for reference in references):
        return Problem("refs must be a list of {user, agent}, each a text", place, "mend or remove the record")
    written = {
        role: tuple(text for reference in references if (text := (reference.get(role) or "").strip()))
        for role in (USER, AGENT)
    }
    return record_dialogue(
        record,
        value["id"],
        turns,
        roles={SPEAKERS[0]: USER, SPEAKERS[1]: AGENT},
        references=written,
        meta={"speakers": "inferred: customer first, then alternating"},
    )


def _is_reference(reference: Any) -> bool:
    return isinstance(reference, dict) and all(isinstance(reference.get(role) or "", str) for role in (USER, AGENT))


FORMAT = Format(
    "tweetsumm",
    "TweetSumm: {id, turns: [text], refs: [{user, agent}]}; speakers inferred, customer first",
    matches,
    read,
)
