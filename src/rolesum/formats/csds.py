"""CSDS, the Chinese customer service set: the official layout, and the flat one that is often passed on.

Official: {DialogueID, QRole, Dialogue: [{speaker: "Q" | "A", utterance: words split by spaces}], UserSumm, AgentSumm,
FinalSumm: lists of sentences}. Flat: {id, q_role, dialogue: [{speaker, utterance}], final, user, agent}.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Record, Source, is_valid_id
from rolesum.formats.turns import split_label_times
from rolesum.roles import AGENT, OVERALL, USER

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
    if not isinstance(value, dict) or not is_valid_id(value.get("DialogueID", value.get("id"))):
        return Problem("not a CSDS record: an id and a dialogue are needed", record.location, "see docs/formats.md")
    identity = str(value.get("DialogueID", value.get("id")))
    place = f"{record.location}, id {identity}"
    entries = value.get("Dialogue" if official else "dialogue")
    if not isinstance(entries, list) or not all(_is_turn(entry) for entry in entries):
        return Problem("a turn needs speaker and utterance, both texts", place, "mend or remove the record")
    said = split_label_times(Turn(entry["speaker"], entry["utterance"]) for entry in entries)  # "Q 10:03"
    customer = _customer(value, [turn.speaker for turn in said])
    turns = []
    for turn in said:
        text = _SEGMENTATION_SPACE.sub("", turn.text) if official else turn.text
        if text.strip():
            label = {"Q": customer, "A": SERVICE}.get(turn.speaker, turn.speaker)
            turns.append(Turn(label, text.strip(), turn.time))
    if not turns:
        return Problem("the dialogue has no turns", place, "mend or remove the record, or skip its id")
    summaries = _summaries(value, OFFICIAL_KEYS if official else FLAT_KEYS)
    if summaries is None:
        return Problem("a summary is neither a text nor a list of texts", place, "mend or remove the record")
    return Dialogue(
        id=identity,
        turns=tuple(turns),
        roles={customer: USER, SERVICE: AGENT},
        summaries=summaries,
        language="zh",
        source=record.location,
    )


def _customer(value: Mapping[str, Any], speakers: Sequence[str]) -> str:
    """The label of the one who is served: as the record says, or the only label beside the service's."""
    named = value.get("QRole") or value.get("q_role")
    if isinstance(named, str):
        return named
    others = set(speakers) - {SERVICE, "Q", "A"}
    return others.pop() if len(others) == 1 else CUSTOMER


def _is_turn(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("utterance"), str) and isinstance(entry.get("speaker"), str)


def _summaries(value: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, tuple[str, ...]] | None:
    """Role -> its one reference; None where one is no text."""
    summaries: dict[str, tuple[str, ...]] = {}
    for role, key in keys.items():
        written = value.get(key)
        parts = written if isinstance(written, list) else [written or ""]
        if not all(isinstance(part, str) for part in parts):
            return None
        if text := "".join(parts).strip():
            summaries[role] = (text,)
    return summaries


FORMAT = Format(
    "csds",
    "CSDS: the official layout (Dialogue, UserSumm …) or the flat one (dialogue, final, user, agent)",
    matches,
    read,
)
