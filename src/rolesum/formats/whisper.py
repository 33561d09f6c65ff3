"""The JSON of Whisper and of the programs around it, some of which name speakers.

Whisper, OpenAI's verbose JSON and WhisperX: {segments: [{start, text, speaker, words}]}. whisper.cpp:
{transcription: [{offsets, text, speaker}]}. Hugging Face: {chunks: [{timestamp, text}]}; insanely-fast-whisper adds
{speakers: [{timestamp, text, speaker}]}. Words alone: {text, words: [{word, start, speaker}]}. A file may be a bare
list of segments too.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Record, Source, records_with_ids
from rolesum.formats.transcripts import clock, cut_by_speaker, in_order_of_time, seconds, speaker_label, turns_of_words
from rolesum.formats.turns import transcript_dialogue

# The keys under which a program writes its segments: of those that a file has, the first that is not empty is read.
_SEGMENTS = ("speakers", "segments", "transcription", "chunks")
_WORDS = ("words", "word_segments")


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    return isinstance(record, dict) and (_is_bare(record) or _said(record) is not None)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    if not _is_bare(source.first_record):
        for identity, record in records_with_ids(source):
            yield _dialogue(record, identity) if isinstance(record, Record) else record
        return
    records = list(source.records())
    problems = [item for item in records if isinstance(item, Problem)]
    yield from problems
    if not problems:
        segments = [item.value for item in records if isinstance(item, Record)]
        yield _dialogue(Record({"segments": segments}, f"{source.name}:1"), source.stem)


def _dialogue(record: Record, identity: str) -> Dialogue | Problem:
    value: Any = record.value
    said = _said(value) if isinstance(value, dict) else None
    if said is None:
        what = "not Whisper's JSON: segments, each with a text, are needed; a speaker must be a text or a number"
        return Problem(what, record.location, "see docs/formats.md")
    segments, words = said
    try:
        starts = [_start(segment) for segment in segments]
        if words or _are_words(segments, value):
            turns = _turns_of_text(value, words or [{**one, "word": _text(one)} for one in segments])
        else:
            timed = in_order_of_time(list(zip(segments, starts, strict=True)), starts)
            turns = [turn for segment, start in timed for turn in _turns(segment, start)]
    except OverflowError:
        return Problem("a segment's start is too large for a time", record.location, "mend the segment")
    return transcript_dialogue(turns, identity, record.location)


def _said(value: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    """The segments of a record, or its words where it has no segments; None where it has neither."""
    found = [value[key] for key in _SEGMENTS if isinstance(value.get(key), list)]
    segments = next(filter(None, found), None)
    if segments is not None and all(map(_is_segment, segments)):
        return segments, []
    words = next((value[key] for key in _WORDS if isinstance(value.get(key), list) and value[key]), None)
    if segments is None and words and all(map(_is_word, words)):
        return [], words
    return ([], []) if segments is None and isinstance(value.get("segments"), list) else None


def _turns(segment: dict[str, Any], start: float | None) -> list[Turn]:
    """The segment as one turn, or as several where its words were given to several speakers."""
    listed = segment.get("words")
    words = [word for word in listed if _is_word(word)] if isinstance(listed, list) else []
    return cut_by_speaker(_text(segment), _triples(words), speaker_label(segment.get("speaker")), clock(start))


def _turns_of_text(value: dict[str, Any], words: Sequence[dict[str, Any]]) -> list[Turn]:
    """The turns of a text of which only the words have times: one turn, if they name no speakers."""
    text, triples = value.get("text"), _triples(words)
    if isinstance(text, str) and text.strip():
        return cut_by_speaker(text, triples, time=triples[0][2] if triples else "")
    return list(turns_of_words(triples))


def _triples(words: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(word["word"], speaker_label(word.get("speaker")), clock(_start(word))) for word in words]


def _are_words(segments: Sequence[dict[str, Any]], value: dict[str, Any]) -> bool:
    """Whether the segments are single words of the record's text, as Hugging Face writes them if asked to."""
    return (
        len(segments) > 1
        and isinstance(value.get("text"), str)
        and not any(segment.get("speaker") for segment in segments)
        and all(len(_text(segment).split()) <= 1 for segment in segments)
    )


def _text(segment: dict[str, Any]) -> str:
    """The words of a segment, without whisper.cpp's mark of a change of speakers behind them."""
    return (segment.get("text") or "").replace("[SPEAKER_TURN]", "")


def _start(entry: dict[str, Any]) -> float | None:
    """The second at which a segment or a word begins; None where it has no time that can be used."""
    if "start" in entry:
        return seconds(entry["start"])
    if isinstance(offsets := entry.get("offsets"), dict):
        start = seconds(offsets.get("from"))
        return None if start is None else start / 1000
    if isinstance(times := entry.get("timestamps"), dict):
        return seconds(times.get("from"))
    times = entry.get("timestamp")
    return seconds(times[0]) if isinstance(times, list) and times else None


def _is_bare(record: Any) -> bool:
    """Whether a record is itself a segment, so that the file is a list of them."""
    timed = isinstance(record, dict) and (
        {"start", "end"} <= record.keys() or isinstance(record.get("timestamp"), list)
    )
    return timed and _is_segment(record) and not any(isinstance(record.get(key), list) for key in _SEGMENTS)


def _is_segment(segment: Any) -> bool:
    if not isinstance(segment, dict) or not _has_speaker(segment):
        return False
    # a segment that has a time and no text is silence
    return isinstance(segment.get("text"), str) or (segment.get("text") is None and "start" in segment)


def _is_word(word: Any) -> bool:
    return isinstance(word, dict) and isinstance(word.get("word"), str) and _has_speaker(word)


def _has_speaker(entry: dict[str, Any]) -> bool:
    speaker = entry.get("speaker")
    return speaker is None or (isinstance(speaker, str | int) and not isinstance(speaker, bool))


FORMAT = Format(
    "whisper",
    "Whisper's JSON, and WhisperX's, whisper.cpp's, Hugging Face's: {segments: [{text, speaker?, words?}]}",
    matches,
    read,
)
