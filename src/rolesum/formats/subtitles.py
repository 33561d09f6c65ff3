"""Subtitles: WebVTT and SRT, whose timed cues become turns.

WebVTT (Teams, Zoom, captioning tools) names the speaker by a voice tag, or by "Name: " before the text. SRT has no
place for a speaker, so "Name: " before a cue's text is taken for one.

webvtt-py and srt read such files too. Neither tells the line of a broken cue (the one drops it, the other ends there),
and neither gives the speakers of several voices in one cue, so this module reads the lines by itself.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Source
from rolesum.formats.turns import one_line, parse_labeled_line, transcript_dialogue

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
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?(?:\s++(?P<name>[^<>]*))?>")
_NO_CUE = ("NOTE", "STYLE", "REGION")


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue's text and the second at which it begins."""

    start: float
    text: str
    location: str


def matches_vtt(source: Source) -> bool:
    return re.match(r"WEBVTT(\s|$)", source.text) is not None


def read_vtt(source: Source) -> Iterator[Dialogue | Problem]:
    if not matches_vtt(source):
        yield Problem("not WebVTT: the first line must be WEBVTT", f"{source.name}:1", "see docs/formats.md")
        return
    cues: list[Cue] = []
    broken = False
    for item in read_cues(source, _after_header(source.lines), _NO_CUE):
        if isinstance(item, Cue):
            cues.append(item)
        else:
            broken = True
            yield item
    if broken:
        return
    texts = [cue.text for cue in sorted(cues, key=lambda cue: cue.start)]
    if any(_VOICE.search(text) for text in texts):
        turns = [turn for text in texts for turn in _turns_by_voice(text)]
    else:
        turns = list(turns_by_label([html.unescape(strip_tags(text)) for text in texts]))
    yield transcript_dialogue(turns, source.stem, source.name)


def matches_srt(source: Source) -> bool:
    begin = [line.strip() for line in source.lines if line.strip()][:2]
    return bool(begin) and (bool(TIMING.match(begin[0])) or (begin[0].isdigit() and bool(TIMING.match(begin[-1]))))


def read_srt(source: Source) -> Iterator[Dialogue | Problem]:
    items = list(read_cues(source))
    problems = [item for item in items if isinstance(item, Problem)]
    yield from problems
    if not problems:
        cues = sorted((item for item in items if isinstance(item, Cue)), key=lambda cue: cue.start)
        turns = turns_by_label([strip_tags(cue.text) for cue in cues])
        yield transcript_dialogue(turns, source.stem, source.name)


def _after_header(lines: list[str]) -> int:
    """The line (from 0) at which the header's block has ended."""
    return next((index for index, line in enumerate(lines) if not line.strip() or ARROW in line), len(lines))


def _turns_by_voice(text: str) -> Iterator[Turn]:
    """A voice lasts to its end tag or to the next voice; what stands outside of any has no speaker."""
    voice, at = "", 0
    for tag in re.finditer(rf"{_VOICE.pattern}|</v>", text):
        yield _turn(voice, text[at : tag.start()])
        voice, at = tag["name"] or "", tag.end()
    yield _turn(voice, text[at:])


def _turn(voice: str, text: str) -> Turn:
    speaker, said = one_line(html.unescape(voice)), one_line(html.unescape(strip_tags(text)))
    between = not speaker and not re.search(r"\w", said)  # the dash before a voice is nobody's
    return Turn(speaker, "" if between else said)


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


VTT = Format("vtt", 'WebVTT (Teams, Zoom): cues with <v Anna> or "Anna: text"', matches_vtt, read_vtt)
SRT = Format("srt", 'SRT subtitles; "Anna: text" names the speaker', matches_srt, read_srt)
