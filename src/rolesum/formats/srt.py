"""SubRip subtitles (.srt), which have no place for a speaker: "Name: " before a cue's text is taken for one."""

from collections.abc import Iterator

from rolesum.dialogue import Dialogue
from rolesum.errors import Problem
from rolesum.formats.cues import TIMING, Cue, read_cues, strip_tags, transcript_dialogue, turns_by_label
from rolesum.formats.source import Source

NAME = "srt"
DESCRIPTION = 'SRT subtitles; "Anna: text" names the speaker'


def matches(source: Source) -> bool:
    begin = [line.strip() for line in source.lines if line.strip()][:2]
    return bool(begin) and (bool(TIMING.match(begin[0])) or (begin[0].isdigit() and bool(TIMING.match(begin[-1]))))


def read(source: Source) -> Iterator[Dialogue | Problem]:
    items = list(read_cues(source))
    problems = [item for item in items if isinstance(item, Problem)]
    yield from problems
    if not problems:
        cues = sorted((item for item in items if isinstance(item, Cue)), key=lambda cue: cue.start)
        turns = turns_by_label([strip_tags(cue.text) for cue in cues])
        yield transcript_dialogue(turns, source.stem, source.name)
