"""Whisper's JSON, which names no speakers, and WhisperX's, which may: {segments: [{start, text, speaker, words}]}."""

from collections.abc import Iterator
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Record, Source, records_with_ids
from rolesum.formats.turns import transcript_dialogue


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    segments = record.get("segments") if isinstance(record, dict) else None
    return isinstance(segments, list) and all(_is_segment(segment) for segment in segments)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for identity, record in records_with_ids(source):
        yield _dialogue(record, identity) if isinstance(record, Record) else record


def _dialogue(record: Record, identity: str) -> Dialogue | Problem:
    segments = record.value.get("segments") if isinstance(record.value, dict) else None
    if not isinstance(segments, list):
        return Problem("not Whisper's JSON: segments are needed", record.location, "see docs/formats.md")
    if not all(_is_segment(segment) for segment in segments):
        return Problem("a segment needs a text; its speaker must be one too", record.location, "mend the segment")
    try:
        segments = sorted(segments, key=lambda segment: _seconds(segment.get("start")))
    except OverflowError:
        return Problem("a segment's start is too large for a time", record.location, "mend the segment")
    return transcript_dialogue((turn for segment in segments for turn in _turns(segment)), identity, record.location)


def _turns(segment: dict[str, Any]) -> Iterator[Turn]:
    """The segment as one turn, or as several where its words were given to several speakers.

    The text is cut before the first word of each speaker, so that it stays as it was, in any script.
    """
    text, speaker = segment["text"], segment.get("speaker") or ""
    begun, at = 0, 0
    now = next((word["speaker"] for word in _words(segment) if word.get("speaker")), speaker)
    pieces = []
    for word in _words(segment):
        found = text.find(word["word"].strip(), at)
        if found < 0:  # the words are not those of the text
            yield Turn(speaker.strip(), text)
            return
        if (next_one := word.get("speaker") or now) != now:
            pieces.append(Turn(now.strip(), text[begun:found]))
            begun, now = found, next_one
        at = found + len(word["word"].strip())
    yield from pieces
    yield Turn(now.strip(), text[begun:])


def _words(segment: dict[str, Any]) -> list[dict[str, Any]]:
    words = segment.get("words")
    return [word for word in words if _is_word(word)] if isinstance(words, list) else []


def _is_word(word: Any) -> bool:
    return isinstance(word, dict) and isinstance(word.get("word"), str) and isinstance(word.get("speaker") or "", str)


def _is_segment(segment: Any) -> bool:
    return (
        isinstance(segment, dict)
        and isinstance(segment.get("text"), str)
        and isinstance(segment.get("speaker") or "", str)
    )


def _seconds(start: Any) -> float:
    return float(start) if isinstance(start, int | float) else 0.0


FORMAT = Format("whisper", "Whisper and WhisperX JSON: {segments: [{text, speaker?, words?}]}", matches, read)
