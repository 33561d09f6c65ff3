"""QMSum, meetings with questions: {meeting_transcripts: [{speaker, content}], general_query_list, specific_query_list}.

The answers to the general queries that ask for a summary of the meeting are its overall references. The other queries
stand with their answers in the dialogue's meta: each asks for something of its own.
"""

import re
from collections.abc import Iterator
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Record, Source, records_with_ids
from rolesum.formats.turns import one_line
from rolesum.roles import OVERALL, roles_of_speakers

QUERIES = ("general_query_list", "specific_query_list")
# Marks of the transcribers, "{vocalsound}" and the like.
_MARK = re.compile(r"\{\s*\w+\s*\}\s*")
_WHOLE = re.compile(r"summar", re.IGNORECASE)


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    return isinstance(record, dict) and isinstance(record.get("meeting_transcripts"), list)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for identity, record in records_with_ids(source):
        yield _dialogue(record, identity) if isinstance(record, Record) else record


def _dialogue(record: Record, identity: str) -> Dialogue | Problem:
    value: Any = record.value
    if not isinstance(value, dict) or not isinstance(value.get("meeting_transcripts"), list):
        return Problem("not a QMSum record: meeting_transcripts is needed", record.location, "see docs/formats.md")
    place = f"{record.location}, id {identity}"
    said, queries = value["meeting_transcripts"], [value.get(key) or [] for key in QUERIES]
    if not all(_has_texts(entry, "speaker", "content") for entry in said):
        return Problem("a turn needs speaker and content, both texts", place, "mend or remove the record")
    if not all(
        isinstance(asked, list) and all(_has_texts(one, "query", "answer") for one in asked) for asked in queries
    ):
        return Problem("a query needs query and answer, both texts", place, "mend or remove the record")
    turns = [
        Turn(entry["speaker"].strip(), text)
        for entry in said
        if (text := one_line(_MARK.sub("", entry["content"])).strip())
    ]
    if not turns:
        return Problem("the meeting has no turns", place, "mend or remove the record")
    general, specific = queries
    whole = [one["answer"].strip() for one in general if _WHOLE.search(one["query"]) and one["answer"].strip()]
    others = [one for one in general if not _WHOLE.search(one["query"])] + specific
    asked = [{"query": one["query"], "answer": one["answer"]} for one in others]
    listed = value.get("topic_list")
    topics = [entry["topic"] for entry in listed if _has_texts(entry, "topic")] if isinstance(listed, list) else []
    return Dialogue(
        id=identity,
        turns=tuple(turns),
        roles=roles_of_speakers([turn.speaker for turn in turns]),
        summaries={OVERALL: tuple(whole)} if whole else {},
        meta={key: entries for key, entries in (("topics", topics), ("queries", asked)) if entries},
        source=record.location,
    )


def _has_texts(entry: Any, *keys: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in keys)


FORMAT = Format("qmsum", "QMSum: {meeting_transcripts: [{speaker, content}], general_query_list, …}", matches, read)
