"""Timed cues of subtitles, as WebVTT and SRT write them, and the turns that they make.

webvtt-py and srt read such files too. Neither tells the line of a broken cue (the one drops it, the other ends there),
and neither gives the speakers of several voices in one cue, so these are lines of our own.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Source
from rolesum.formats.turns import merge_turns, one_line, parse_labeled_line
from rolesum.roles import roles_of_speakers

ARROW = "-->"

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?=\s|$)")
# Two times with something else than the arrow between them: a cue whose timing was broken, and no speech.
_NEAR_TIMING = re.compile(r"\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*\S{1,3}\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\b")
# Tags of cue text (<i>, <c.yellow>, <00:01:02.500>) and SRT's positions ({\an8}); an address or "<3" is none.
_TAG = re.compile(r"</?[A-Za-z]+\d?(?:[.\s][^<>]*)?/?>|</>|<\d+:[\d:.]+>|\{\\[^{}]*\}")
_DASH = re.compile(r"^\s*(?:[-–—]|>>+)\s*")
_LABEL_WORDS = 6
_HOUR_DIGITS = 300  # more are no time, and too many for a number


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue's text and the second at which it begins."""

    start: float
    text: str
    location: str


def read_cues(source: Source, first: int = 0, apart: tuple[str, ...] | None = None) -> Iterator[Cue | Problem]:
    """The cues from a line on (counted from 0), and what cannot be read.

    `apart` begins the blocks that hold no cue, as NOTE does in WebVTT. Where it is None (SRT), a block without a timing
    goes on with the cue before: there a text may hold a blank line.
    """
    last: tuple[float, list[str], str] | None = None  # the parts of a cue, whose text may go on
    for number, block in _blocks(source.lines, first):
        place = f"{source.name}:{number}"
        at = next((index for index, line in enumerate(block[:2]) if ARROW in line), None)
        if at is not None:
            if last:
                yield _cue(*last)
            last = None
            start = _start(block[at])
            if start is None:
                fix = "write it as 00:01:02.500 --> 00:01:04.000, the end not before the start"
                yield Problem(f"broken cue timing: {block[at].strip()[:60]!r}", f"{source.name}:{number + at}", fix)
            else:
                last = (start, ["\n".join(block[at + 1 :])], place)
        elif any(_NEAR_TIMING.match(line) for line in block[:2]):
            yield Problem(f"broken cue timing: {' '.join(block[:2])[:60]!r}", place, f"put {ARROW} between the times")
        elif apart is None and last:
            last[1].extend(block)
        elif apart is None or not block[0].startswith(apart):
            yield Problem(f"text outside of any cue: {block[0].strip()[:60]!r}", place, "give it a timing or remove it")
    if last:
        yield _cue(*last)


def _cue(start: float, lines: Sequence[str], place: str) -> Cue:
    return Cue(start, "\n".join(lines), place)


def turns_by_label(texts: Sequence[str]) -> Iterator[Turn]:
    """The turns of cue texts whose lines may begin with "Name: "; the speaker is "" where none is named.

    A label must stand twice, or at least half of the texts must begin with one: "Note: the door sticks" in subtitles
    without speakers is no turn of Note.
    """
    found = [[_label(line) for line in text.split("\n")] for text in texts]
    heard = Counter(turn.speaker for lines in found for turn in lines if turn)
    begun = sum(lines[0] is not None for lines in found)
    trusted = {label for label, count in heard.items() if count > 1 or 2 * begun >= len(texts)}
    for text, lines in zip(texts, found, strict=True):
        speaker, said = "", [""]
        for line, turn in zip(text.split("\n"), lines, strict=True):
            if turn and turn.speaker in trusted:
                yield Turn(speaker, one_line("\n".join(said)))
                speaker, said = turn.speaker, [turn.text]
            else:
                said.append(line)
        yield Turn(speaker, one_line("\n".join(said)))


def strip_tags(text: str) -> str:
    return _TAG.sub("", text)


def transcript_dialogue(turns: Iterable[Turn], identity: str, place: str) -> Dialogue | Problem:
    """The dialogue of a transcript: pieces that follow each other from one speaker are one turn."""
    spoken = merge_turns(turns)
    if not spoken:
        return Problem("nothing is said in it", place, "check the file and the format")
    return Dialogue(
        id=identity,
        turns=tuple(spoken),
        roles=roles_of_speakers([turn.speaker for turn in spoken]),
        source=place,
    )


def _label(line: str) -> Turn | None:
    turn = parse_labeled_line(_DASH.sub("", line))
    return turn if turn and len(turn.speaker.split()) <= _LABEL_WORDS else None


def _start(line: str) -> float | None:
    """The second at which a cue begins; None where the timing is broken or ends before it begins."""
    found = TIMING.match(line)
    if not found:
        return None
    hour, minute, second, part, *end = (group or "0" for group in found.groups())
    if max(len(hour), len(end[0])) > _HOUR_DIGITS:
        return None
    begin = int(hour) * 3600 + int(minute) * 60 + int(second) + float(f"0.{part}")
    finish = int(end[0]) * 3600 + int(end[1]) * 60 + int(end[2]) + float(f"0.{end[3]}")
    return begin if begin <= finish else None


def _blocks(lines: Sequence[str], first: int) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, with the number of each run's first line.

    A second timing in a run begins a new one, with the number above it: files edited by hand lose blank lines.
    """
    block: list[str] = []
    for index in range(first, len(lines)):
        line = lines[index]
        if line.strip() and ARROW in line and (len(block) > 1 or any(ARROW in other for other in block)):
            kept = [block.pop()] if block[-1].strip().isdigit() else []
            if block:
                yield index - len(kept) - len(block) + 1, block
            block = kept
        if line.strip():
            block.append(line)
        elif block:
            yield index - len(block) + 1, block
            block = []
    if block:
        yield len(lines) - len(block) + 1, block
