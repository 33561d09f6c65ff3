"""Timed cues of WebVTT, SRT and SBV files, and the removal of what rolling captions repeat.

webvtt-py and srt read such files too. Neither reports the line of a broken cue (webvtt-py skips it, srt stops there),
and neither gives the speakers of several voices in one cue, so this module reads the lines by itself.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rolesum.errors import Problem
from rolesum.formats.source import Source

ARROW = "-->"
NO_CUE = ("NOTE", "STYLE", "REGION")  # begin the blocks of WebVTT that hold no cue

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,7}))?"
TIMING = re.compile(rf"\s*(?P<begin>{_TIME})\s*-->\s*{_TIME}(?=\s|$)")
SBV_TIMING = re.compile(rf"\s*(?P<begin>{_TIME}),(?=\d+:\d){_TIME}\s*$")
# Two times with something else than the arrow between them: a cue whose timing was broken, and no speech.
_NEAR_TIMING = re.compile(r"\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*\S{1,3}\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\b")
# Tags of cue text (<i>, <c.yellow>, <00:01:02.500>) and SRT's positions ({\an8}); "<really>" and "<3" are none.
_TAG = re.compile(
    r"<(?:c|i|b|u|s|v|rt|ruby|lang|font|br|p|em|strong|span|div|small|big|su[bp]|strike|center)(?:[.\s][^<>]*)?/?>|"
    r"<[A-Za-z]+\s[^<>=]*=[^<>]*>|</[A-Za-z]*\d?\s*>|<\d+:[\d:.]+>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
_HOUR_DIGITS = 300  # more are no time, and too many for a number

_CAPTION_LINES = 4  # lines that roll: more do not fit on a screen
_TOUCHING = 0.2  # seconds at most between two cues of which the second repeats the first


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue: its text, its id ("" for none), its seconds, and its begin as it is written."""

    start: float
    end: float
    text: str
    identity: str = ""
    time: str = ""


def read_cues(source: Source, first: int = 0, apart: tuple[str, ...] | None = None) -> Iterator[Cue | Problem]:
    """The cues from a line on (counted from 0), and what cannot be read.

    `apart` begins the blocks that hold no cue, as NOTE does in WebVTT. Where it is None (SRT and SBV), a block without
    a timing goes on with the cue before: there a text may hold a blank line. In WebVTT it may do so under its timing.
    """
    last: tuple[Cue, list[str]] | None = None  # a cue whose text may go on
    for number, block in _blocks(source.lines, first, strict=apart is not None):
        place = f"{source.name}:{number}"
        at = next((index for index, line in enumerate(block[:2]) if is_timing(line)), None)
        if at is not None:
            if last:
                yield replace(last[0], text="\n".join(last[1]))
            cue = _cue(block[at], block[0].strip() if at else "")
            last = (cue, block[at + 1 :]) if cue else None
            if not cue:
                fix = "write it as 00:01:02.500 --> 00:01:04.000, the end not before the start"
                yield Problem(f"broken cue timing: {block[at].strip()[:60]!r}", f"{source.name}:{number + at}", fix)
        elif any(_NEAR_TIMING.match(line) for line in block[:2]):
            yield Problem(f"broken cue timing: {' '.join(block[:2])[:60]!r}", place, f"put {ARROW} between the times")
        elif last and (apart is None or (not any(map(str.strip, last[1])) and not block[0].startswith(apart))):
            last[1].extend(block)
        elif apart is None or not block[0].startswith(apart):
            yield Problem(f"text outside of any cue: {block[0].strip()[:60]!r}", place, "give it a timing or remove it")
    if last:
        yield replace(last[0], text="\n".join(last[1]))


def after_header(lines: list[str]) -> int:
    """The line (from 0) at which the header's block has ended."""
    return next((index for index, line in enumerate(lines) if not line.strip() or ARROW in line), len(lines))


def is_timing(line: str) -> bool:
    """Whether a line is a cue's timing, perhaps a broken one."""
    return ARROW in line or SBV_TIMING.match(line) is not None


def strip_tags(text: str) -> str:
    """A cue's text without tags."""
    return _TAG.sub("", text)


def plain_text(text: str) -> str:
    """A cue's text without tags and entities."""
    return html.unescape(strip_tags(text))


def without_repeats(cues: Sequence[Cue]) -> list[Cue]:
    """The cues, sorted by their start; where captions roll, without the lines that the cue before has shown already.

    Rolling captions, such as YouTube's, show each line again above the next one, or a line again as it grows. They
    are known by at least half of the neighboring cues doing so; other captions, where somebody may say "Yes." twice,
    stay as they are.
    """
    kept = sorted(cues, key=lambda cue: cue.start)
    shown = [_shown_lines(cue) for cue in kept]
    plain = [[line for line, _ in lines] for lines in shown]
    repeated = [
        _num_repeated(before, now) if second.start <= first.end + _TOUCHING else 0
        for (first, second), (before, now) in zip(pairwise(kept), pairwise(plain), strict=True)
    ]
    rolled = sum(count > 0 for count in repeated)
    grown = any(count and now != before for count, (before, now) in zip(repeated, pairwise(plain), strict=True))
    if not grown or rolled < 2 or 2 * rolled < len(repeated):
        return kept
    found = kept[:1]
    for cue, count, lines, (before, now) in zip(kept[1:], repeated, shown[1:], pairwise(plain), strict=True):
        rest = now[count - 1][len(before[-1]) :].strip() if count else ""  # of the line that has grown
        new = [*([html.escape(rest, quote=False)] if rest else []), *(written for _, written in lines[count:])]
        if new:
            found.append(replace(cue, text="\n".join(new)))
    return found


def _shown_lines(cue: Cue) -> list[tuple[str, str]]:
    """The lines of a cue that show something, each without and with its tags."""
    written = [(plain_text(line).strip(), line) for line in cue.text.split("\n")]
    return [(plain, line) for plain, line in written if plain]


def _num_repeated(before: list[str], now: list[str]) -> int:
    """The number of lines at the start of a cue that end the cue before; the last of them may have grown by words."""
    for count in range(min(len(before), len(now), _CAPTION_LINES), 0, -1):
        if before[-count:-1] == now[: count - 1] and f"{now[count - 1]} ".startswith(f"{before[-1]} "):
            return count
    return 0


def _cue(line: str, identity: str) -> Cue | None:
    """The cue that a timing begins, without its text; None where the timing is broken or ends before it begins."""
    found = TIMING.match(line) or SBV_TIMING.match(line)
    if not found:
        return None
    written, *groups = found.groups()
    hour, minute, second, part, *end = (group or "0" for group in groups)
    if max(len(hour), len(end[0])) > _HOUR_DIGITS:
        return None
    begin = int(hour) * 3600 + int(minute) * 60 + int(second) + float(f"0.{part}")
    finish = int(end[0]) * 3600 + int(end[1]) * 60 + int(end[2]) + float(f"0.{end[3]}")
    return Cue(begin, finish, "", identity, written) if begin <= finish else None


def _blocks(lines: Sequence[str], first: int, strict: bool) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, with the number of each run's first line.

    With `strict` a line of spaces is not blank: in WebVTT an empty line alone ends a cue. A second timing in a run
    begins a new one, with the number or the id above it: files edited by hand lose blank lines.
    """
    block: list[str] = []
    for index in range(first, len(lines)):
        line = lines[index]
        if (len(block) > 1 or (block and is_timing(block[0]))) and is_timing(line):
            behind_spaces = len(block) > 3 and not block[-2].strip() and any(map(str.strip, block[1:-2]))
            kept = [block.pop()] if block[-1].strip().isdigit() or behind_spaces else []
            if block:
                yield index - len(kept) - len(block) + 1, block
            block = kept
        if line if strict and block else line.strip():
            block.append(line)
        elif block:
            yield index - len(block) + 1, block
            block = []
    if block:
        yield len(lines) - len(block) + 1, block
