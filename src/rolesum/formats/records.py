"""Dialogues from the records of data sets: what their readers check alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Record
from rolesum.formats.speech_text import parse_speech
from rolesum.roles import roles_of_speakers

_REPAIR = "mend or remove the record, or skip its id"


def record_dialogue(
    record: Record,
    identity: Any,
    turns: Sequence[Turn],
    *,
    roles: Mapping[str, str],
    references: Mapping[str, Sequence[Any]],
    meta: Mapping[str, Any] | None = None,
) -> Dialogue | Problem:
    """The dialogue of a record, or what is wrong with it: no turns, or a reference that is empty or not a text.

    `roles` maps a speaker to a role, `references` a role to its reference summaries.
    """
    place = f"{record.location}, id {identity}"
    if not turns:
        return Problem("the dialogue has no turns", place, _REPAIR)
    if not all(isinstance(text, str) and text.strip() for texts in references.values() for text in texts):
        return Problem("a summary is empty or not a text", place, _REPAIR)
    return Dialogue(
        id=str(identity),
        turns=tuple(turns),
        roles=roles,
        summaries={role: tuple(text.strip() for text in texts) for role, texts in references.items() if texts},
        meta=meta or {},
        source=record.location,
    )


def text_dialogue(
    record: Record,
    identity: Any,
    text: str,
    references: Mapping[str, Sequence[Any]],
    *,
    label: str = "Speaker",
    meta: Mapping[str, Any] | None = None,
) -> Dialogue | Problem:
    """The dialogue of a record whose turns are lines of one text; `label` is an example of a speaker's.

    `references` maps a role to its reference summaries.
    """
    speech = parse_speech(text)
    place = f"{record.location}, id {identity}"
    if speech.stray:
        what = f'the dialogue does not begin with "{label}: text": its line {speech.stray[0]} names no speaker'
        return Problem(what, place, "name the first line's speaker")
    roles = roles_of_speakers([turn.speaker for turn in speech.turns])
    kept = {**(meta or {}), **speech.meta}
    return record_dialogue(record, identity, speech.turns, roles=roles, references=references, meta=kept)
