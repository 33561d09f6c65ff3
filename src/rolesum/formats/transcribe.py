"""Amazon's transcripts: Call Analytics, Contact Lens and Connect chats, whose participants have roles, and plain ones.

With roles: {Transcript: [{Content, ParticipantRole | ParticipantId}], Participants, …} or {Segments: [{Transcript}]}.
Plain, with labels of speakers or channels:
{jobName, results: {audio_segments: [{transcript, speaker_label}], items: [{type, alternatives, speaker_label}]}}.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.contact_lens import analytics_dialogue, is_analytics
from rolesum.formats.source import Format, Record, Source, is_valid_id, records_with_ids
from rolesum.formats.transcripts import clock, in_order_of_time, seconds
from rolesum.formats.turns import join_speech, transcript_dialogue

_IDS = ("JobName", "jobName", "ContactId", "InitialContactId")
_PAUSE = 1.0  # seconds without a word, after which a channel's next word may stand behind another channel's
_SENTENCE_END = tuple(".?!。？！")


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    return isinstance(record, dict) and (is_analytics(record) or _is_plain(record))


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for identity, record in records_with_ids(source):
        yield _dialogue(record, identity) if isinstance(record, Record) else record


def _is_plain(value: Mapping[str, Any]) -> bool:
    results = value.get("results")
    return isinstance(results, dict) and ("transcripts" in results or "items" in results or "channel_labels" in results)


def _dialogue(record: Record, stem: str) -> Dialogue | Problem:
    value: Any = record.value
    if not isinstance(value, dict) or not (is_analytics(value) or _is_plain(value)):
        what = "not Amazon Transcribe's JSON: Transcript or results are needed"
        return Problem(what, record.location, "see docs/formats.md")
    identity = next((str(value[key]) for key in _IDS if is_valid_id(value.get(key))), stem)
    try:
        if _is_plain(value):
            return transcript_dialogue(_labeled(value["results"]), identity, record.location)
        return analytics_dialogue(value, identity, record.location)
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        what = f"an entry of the transcript does not have Amazon's structure: {error}"
        return Problem(what, f"{record.location}, id {identity}", "mend or remove the record")


def _labeled(results: Mapping[str, Any]) -> list[Turn]:
    if segments := results.get("audio_segments"):
        starts = [seconds(segment.get("start_time")) for segment in segments]
        turns = [
            Turn(_speaker(one), one["transcript"], clock(start)) for one, start in zip(segments, starts, strict=True)
        ]
        return in_order_of_time(turns, starts)
    items = results.get("items") or ()
    if (channels := _by_channel(results)) and not any(item.get("speaker_label") for item in items):
        parts = [part for label, spoken in channels.items() for part in _sentences(label, spoken)]
        return in_order_of_time([turn for _, turn in parts], [start for start, _ in parts])
    by_start = {
        item["start_time"]: segment["speaker_label"]
        for segment in (results.get("speaker_labels") or {}).get("segments", ())
        for item in segment.get("items", ())
    }
    return list(_runs(items, by_start))


def _by_channel(results: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Channel -> its words: from the channels, where they list them, else from the labels of all words."""
    listed = (results.get("channel_labels") or {}).get("channels") or ()
    channels = {str(one["channel_label"]): one["items"] for one in listed if one.get("items")}
    if not channels:
        for item in results.get("items") or ():
            if label := item.get("channel_label"):
                channels.setdefault(str(label), []).append(item)
    return channels


def _sentences(label: str, items: list[Mapping[str, Any]]) -> Iterator[tuple[float | None, Turn]]:
    """The sentences of one channel, each with its start: people speak at once, and words would alternate."""
    words: list[str] = []
    begin: float | None = None
    ended: float | None = None
    for item in items:
        content, start = _content(item), seconds(item.get("start_time"))
        pause = start is not None and ended is not None and start - ended > _PAUSE
        if words and not _is_punctuation(item) and (pause or words[-1].endswith(_SENTENCE_END)):
            yield begin, Turn(label, join_speech(words), clock(begin))
            words = []
        if _is_punctuation(item) and words:
            words[-1] += content
            continue
        if not words:
            begin = start
        words.append(content)
        ended = seconds(item.get("end_time")) or start
    if words:
        yield begin, Turn(label, join_speech(words), clock(begin))


def _runs(items: Any, by_start: Mapping[str, str]) -> Iterator[Turn]:
    """A turn for each run of words of one speaker."""
    speaker, words = "", list[str]()
    begin: float | None = None
    for item in items:
        if _is_punctuation(item) and words:
            words[-1] += _content(item)
            continue
        now = _speaker(item) or by_start.get(item.get("start_time"), "")
        if now != speaker and words:
            yield Turn(speaker, join_speech(words), clock(begin))
            words = []
        if not words:
            begin = seconds(item.get("start_time"))
        speaker = now
        words.append(_content(item))
    if words:
        yield Turn(speaker, join_speech(words), clock(begin))


def _content(item: Mapping[str, Any]) -> str:
    content: str = item["alternatives"][0]["content"]
    return content.strip()


def _is_punctuation(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "punctuation"


def _speaker(entry: Mapping[str, Any]) -> str:
    return str(entry.get("speaker_label") or entry.get("channel_label") or "")


FORMAT = Format(
    "transcribe",
    "Amazon's JSON: Connect chats, Contact Lens, Call Analytics (agent and customer), Transcribe with speaker labels",
    matches,
    read,
)
