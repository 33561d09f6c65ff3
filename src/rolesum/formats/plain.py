"""Plain text: one dialogue a file, one turn a line, "Speaker: text" or "说话人：内容"."""

from collections.abc import Iterator

from rolesum.dialogue import Dialogue
from rolesum.errors import Problem
from rolesum.formats import vtt, whatsapp, zoom
from rolesum.formats.source import Source
from rolesum.formats.turns import parse_turns
from rolesum.roles import roles_of_speakers

NAME = "plain"
DESCRIPTION = 'plain text: one dialogue a file, one turn a line, "Speaker: text" or "说话人：内容"'


# Their first lines may hold a colon too, and would pass for a label and a text.
_OTHERS = (vtt, whatsapp, zoom)


def matches(source: Source) -> bool:
    if source.is_json or source.files or any(other.matches(source) for other in _OTHERS):
        return False
    turns, stray = parse_turns(source.text)
    return bool(turns) and not stray


def read(source: Source) -> Iterator[Dialogue | Problem]:
    turns, stray = parse_turns(source.text)
    for line in stray:
        yield Problem("no speaker", f"{source.name}:{line}", 'begin each turn with "Speaker: "')
    if not turns:
        yield Problem('no turn of the form "Speaker: text" was found', source.name, "see docs/formats.md")
    if turns and not stray:
        yield Dialogue(
            id=source.stem,
            turns=tuple(turns),
            roles=roles_of_speakers([turn.speaker for turn in turns]),
            source=source.name,
        )
