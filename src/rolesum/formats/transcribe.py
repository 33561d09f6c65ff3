"""Amazon Transcribe: Call Analytics, whose participants have roles, and plain transcripts with speaker labels.

Call Analytics (and Contact Lens): {Transcript: [{Content, ParticipantRole | ParticipantId}], Participants, …}. Plain:
{jobName, results: {audio_segments: [{transcript, speaker_label}], items: [{type, alternatives, speaker_label}]}}.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Record, Source, is_valid_id, records_with_ids
from rolesum.formats.turns import transcript_dialogue
from rolesum.roles import role_of_speaker


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    return isinstance(record, dict) and (_is_analytics(record) or _is_plain(record))


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for identity, record in records_with_ids(source):
        yield _dialogue(record, identity) if isinstance(record, Record) else record


def _is_analytics(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("Transcript"), list)


def _is_plain(value: Mapping[str, Any]) -> bool:
    results = value.get("results")
    return isinstance(results, dict) and ("transcripts" in results or "items" in results)


def _dialogue(record: Record, stem: str) -> Dialogue | Problem:
    value: Any = record.value
    if not isinstance(value, dict) or not (_is_analytics(value) or _is_plain(value)):
        what = "not Amazon Transcribe's JSON: Transcript or results are needed"
        return Problem(what, record.location, "see docs/formats.md")
    identity = next((str(value[key]) for key in ("JobName", "jobName") if is_valid_id(value.get(key))), stem)
    try:
        if _is_plain(value):
            return transcript_dialogue(_labeled(value["results"]), identity, record.location)
        played = _participants(value)
        turns = [_analytics_turn(entry, played) for entry in value["Transcript"]]
        dialogue = transcript_dialogue(turns, identity, record.location)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        what = f"an entry of the transcript does not have Amazon's structure: {error}"
        return Problem(what, f"{record.location}, id {identity}", "mend or remove the record")
    if isinstance(dialogue, Problem):
        return dialogue
    roles = {label: role for label in dialogue.speakers() if (role := role_of_speaker(played.get(label, label)))}
    return replace(dialogue, roles=roles)


def _participants(value: Mapping[str, Any]) -> dict[str, str]:
    """Participant's id -> role, where the record lists them apart from the turns."""
    listed = value.get("Participants") or []
    return {entry["ParticipantId"]: str(entry["ParticipantRole"]) for entry in listed if "ParticipantId" in entry}


def _analytics_turn(entry: Mapping[str, Any], played: Mapping[str, str]) -> Turn:
    named = entry.get("ParticipantId") if entry.get("ParticipantId") in played else entry.get("ParticipantRole")
    return Turn(str(named or ""), entry.get("Content") or "")


def _labeled(results: Mapping[str, Any]) -> Iterator[Turn]:
    if results.get("audio_segments"):
        for segment in results["audio_segments"]:
            yield Turn(_speaker(segment), segment["transcript"])
        return
    by_start = {
        item["start_time"]: segment["speaker_label"]
        for segment in (results.get("speaker_labels") or {}).get("segments", ())
        for item in segment.get("items", ())
    }
    speaker, said = "", list[str]()
    for item in results.get("items", ()):
        content = item["alternatives"][0]["content"]
        if item.get("type") == "punctuation":
            said.append(content)
            continue
        now = _speaker(item) or by_start.get(item.get("start_time"), "")
        if now != speaker and said:
            yield Turn(speaker, "".join(said))
            said = []
        speaker = now
        said.append(f" {content}".rstrip())
    yield Turn(speaker, "".join(said))


def _speaker(entry: Mapping[str, Any]) -> str:
    return str(entry.get("speaker_label") or entry.get("channel_label") or "")


FORMAT = Format(
    "transcribe", "Amazon Transcribe JSON: Call Analytics (agent and customer), or with speaker labels", matches, read
)
