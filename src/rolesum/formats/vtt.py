"""WebVTT, as Teams, Zoom and captioning tools write it: the speaker as a voice tag, or as "Name: " before the text."""

import html
import re
from collections.abc import Iterator

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.cues import ARROW, Cue, read_cues, strip_tags, transcript_dialogue, turns_by_label
from rolesum.formats.source import Source
from rolesum.formats.turns import one_line

NAME = "vtt"
DESCRIPTION = 'WebVTT (Teams, Zoom): cues with <v Anna> or "Anna: text"'

_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?(?:\s++(?P<name>[^<>]*))?>")
_NO_CUE = ("NOTE", "STYLE", "REGION")


def matches(source: Source) -> bool:
    return re.match(r"WEBVTT(\s|$)", source.text) is not None


def read(source: Source) -> Iterator[Dialogue | Problem]:
    if not matches(source):
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
