"""Turns of Amazon Connect's chats, and of the transcripts of Call Analytics and Contact Lens.

An entry is {Content, ParticipantRole | ParticipantId, DisplayName, ContentType, AbsoluteTime | BeginOffsetMillis}. In
real-time segments it stands under Transcript, or under Utterance while it is still being spoken.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.transcripts import clock, in_order_of_time, seconds
from rolesum.formats.turns import one_line, transcript_dialogue
from rolesum.roles import role_of_speaker

_TITLES = ("title", "text", "replyMessage", "action")  # of an interactive message, the most telling first


def is_analytics(value: Mapping[str, Any]) -> bool:
    """Whether a record has a list of turns or real-time segments, as analyzed contacts and chats have."""
    return isinstance(value.get("Transcript"), list) or is_realtime(value)


def is_realtime(value: Mapping[str, Any]) -> bool:
    """Whether a record is a list of real-time segments."""
    segments = value.get("Segments")
    return isinstance(segments, list) and all(isinstance(segment, dict) for segment in segments)


def analytics_dialogue(value: Mapping[str, Any], identity: str, place: str) -> Dialogue | Problem:
    """The dialogue of a record, each participant with the role that Amazon gives. Raises KeyError and the like."""
    said = [one for one in (_realtime(value) if is_realtime(value) else value["Transcript"]) if not _is_event(one)]
    starts = [_offset(entry) for entry in said]
    roles = _participants(value)
    labels = _labels(said, roles)
    turns = [
        Turn(label, one_line(_text(entry)), _time(entry, start))
        for entry, start, label in zip(said, starts, labels, strict=True)
    ]
    dialogue = transcript_dialogue(in_order_of_time(turns, starts), identity, place)
    if isinstance(dialogue, Problem):
        return dialogue
    given = {
        label: str(roles.get(label) or entry.get("ParticipantRole") or label)
        for label, entry in zip(labels, said, strict=True)
    }
    played = {label: role for label in dialogue.speakers() if (role := role_of_speaker(given[label]))}
    return replace(dialogue, roles=played)


def _realtime(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of real-time segments; of an utterance, its last state, unless a transcript has replaced it."""
    final = [segment["Transcript"] for segment in value["Segments"] if segment.get("Transcript")]
    spoken = [segment["Utterance"] for segment in value["Segments"] if segment.get("Utterance")]
    # an utterance comes again and again as it grows, each time with the id of its transcript
    last = {str(one.get("TranscriptId") or one.get("Id")): one for one in spoken}
    known = {str(one.get("Id")) for one in final}
    return [*final, *({**one, "Content": one.get("PartialContent")} for key, one in last.items() if key not in known)]


def _is_event(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is an event, such as a participant's joining, and no message."""
    return entry.get("Type") == "EVENT" or ".connect.event." in str(entry.get("ContentType") or "")


def _participants(value: Mapping[str, Any]) -> dict[str, str]:
    """Participant's id -> role, where the record lists them apart from the turns."""
    listed = value.get("Participants") or []
    return {
        one["ParticipantId"]: str(one["ParticipantRole"])
        for one in listed
        if one.get("ParticipantId") and one.get("ParticipantRole")
    }


def _labels(entries: Sequence[Mapping[str, Any]], roles: Mapping[str, str]) -> list[str]:
    """The speaker of each entry: an id that has a role, the role (with the name where several play it), or the name."""
    ids: dict[str, set[str]] = {}
    for entry in entries:
        if entry.get("ParticipantRole"):
            ids.setdefault(str(entry["ParticipantRole"]), set()).add(str(entry.get("ParticipantId") or ""))
    labels = []
    for entry in entries:
        role, who = str(entry.get("ParticipantRole") or ""), str(entry.get("ParticipantId") or "")
        name = str(entry.get("DisplayName") or "").strip()
        if who in roles:
            labels.append(who)
        elif role:
            labels.append(f"{role} ({name or who})" if len(ids[role]) > 1 and (name or who) else role)
        else:
            labels.append(name or who)
    return labels


def _text(entry: Mapping[str, Any]) -> str:
    """The words of an entry; of an interactive message, its title."""
    content = entry.get("Content") or ""
    if not isinstance(content, str):
        raise TypeError(f"Content must be a text, and is {str(content)[:40]!r}")
    if "message.interactive" not in str(entry.get("ContentType") or ""):
        return content
    try:
        return _title(json.loads(content))
    except (ValueError, RecursionError):
        return content


def _title(value: Any) -> str:
    """The title that stands highest in the content of an interactive message."""
    waiting = [value]
    for one in waiting:  # grows by what lies below
        if not isinstance(one, dict):
            continue
        for key in _TITLES:
            if isinstance(one.get(key), str) and one[key].strip():
                return str(one[key])
        waiting += [below for below in one.values() if isinstance(below, dict)]
    return ""


def _offset(entry: Mapping[str, Any]) -> float | None:
    """The second at which an entry of a call begins; None for the messages of a chat, which are in order."""
    start = seconds(entry.get("BeginOffsetMillis"))
    return None if start is None else start / 1000


def _time(entry: Mapping[str, Any], start: float | None) -> str:
    if start is not None:
        return clock(start)
    times = entry.get("Time")
    written = entry.get("AbsoluteTime") or (times.get("AbsoluteTime") if isinstance(times, dict) else "")
    return written if isinstance(written, str) else ""
