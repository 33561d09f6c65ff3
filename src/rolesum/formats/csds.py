"""CSDS, the Chinese customer service set: the official layout, and the flat one that is often passed on.

Official: {DialogueID, QRole, Dialogue: [{speaker: "Q" | "A", utterance: words split by spaces}], UserSumm, AgentSumm,
FinalSumm: lists of sentences}. Flat: {id, q_role, dialogue: [{speaker, utterance}], final, user, agent}.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Record, Source
from rolesum.roles import AGENT, OVERALL, USER

NAME = "csds"
DESCRIPTION = "CSDS: the official layout (Dialogue, UserSumm …) or the flat one (dialogue, final, user, agent)"

CUSTOMER, SERVICE = "用户", "客服"
OFFICIAL_KEYS = {OVERALL: "FinalSumm", USER: "UserSumm", AGENT: "AgentSumm"}
FLAT_KEYS = {OVERALL: "final", USER: "user", AGENT: "agent"}

# A space that word segmentation put in: one without an ASCII letter or digit on both sides.
_SEGMENTATION_SPACE = re.compile(r"(?<![A-Za-z0-9]) +| +(?![A-Za-z0-9])")


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    if not isinstance(record, dict):
        return False
    turns = record.get("Dialogue", record.get("dialogue"))
    return isinstance(turns, list) and all(isinstance(turn, dict) and "utterance" in turn for turn in turns)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for record in source.records():
        yield _dialogue(record) if isinstance(record, Record) else record


def _dialogue(record: Record) -> Dialogue | Problem:
    value: Any = record.value
    official = isinstance(value, dict) and "Dialogue" in value
    if not isinstance(value, dict) or not ("id" in value or "DialogueID" in value):
        return Problem("not a CSDS record: an id and a dialogue are needed", record.place, "see docs/formats.md")
    identity = str(value.get("DialogueID", value.get("id")))
    place = f"{record.place}, id {identity}"
    customer = str(value.get("QRole") or value.get("q_role") or CUSTOMER)
    turns = []
    for entry in value.get("Dialogue" if official else "dialogue") or ():
        if not isinstance(entry, dict) or not isinstance(entry.get("utterance"), str) or "speaker" not in entry:
            return Problem("a turn needs speaker and utterance", place, "mend or remove the record")
        text = _SEGMENTATION_SPACE.sub("", entry["utterance"]) if official else entry["utterance"]
        speaker = {"Q": customer, "A": SERVICE}.get(entry["speaker"], str(entry["speaker"]))
        if text.strip():
            turns.append(Turn(speaker, text.strip()))
    if not turns:
        return Problem("the dialogue has no turns", place, "mend or remove the record, or skip its id")
    return Dialogue(
        id=identity,
        turns=tuple(turns),
        roles={customer: USER, SERVICE: AGENT},
        summaries=_summaries(value, OFFICIAL_KEYS if official else FLAT_KEYS),
        language="zh",
        source=record.place,
    )


def _summaries(value: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    summaries: dict[str, tuple[str, ...]] = {}
    for role, key in keys.items():
        written = value.get(key)
        text = "".join(map(str, written)) if isinstance(written, list) else written
        if isinstance(text, str) and text.strip():
            summaries[role] = (text.strip(),)
    return summaries
