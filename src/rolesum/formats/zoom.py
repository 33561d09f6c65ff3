"""Zoom's transcript as text: "[Anna] 10:02:11" on a line of its own, and below it what Anna says."""

import re
from collections.abc import Iterator

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Source
from rolesum.formats.turns import join_speech, transcript_dialogue

_HEAD = re.compile(r"\s*\[(?P<speaker>[^\[\]]+)\]\s+\d{1,2}:\d{2}:\d{2}(\s*[AaPp][Mm])?\s*$")


def matches(source: Source) -> bool:
    return _HEAD.match(next((line for line in source.lines if line.strip()), "")) is not None


def read(source: Source) -> Iterator[Dialogue | Problem]:
    said: list[tuple[str, list[str]]] = []
    stray = False
    for number, line in enumerate(source.lines, 1):
        if head := _HEAD.match(line):
            said.append((head["speaker"].strip(), []))
        elif line.strip() and said:
            said[-1][1].append(line.strip())
        elif line.strip():
            stray = True
            yield Problem("no speaker", f"{source.name}:{number}", 'begin with a line such as "[Anna] 10:02:11"')
    if not stray:
        yield transcript_dialogue([Turn(name, join_speech(lines)) for name, lines in said], source.stem, source.name)


FORMAT = Format("zoom", "Zoom transcript: [Anna] 10:02:11, the text on the next lines", matches, read)
