"""Plain text: one dialogue a file, one turn a line, "Speaker: text" or "说话人：内容"."""

from collections.abc import Iterator

from rolesum.dialogue import Dialogue
from rolesum.errors import Problem
from rolesum.formats import subtitles, whatsapp, zoom
from rolesum.formats.source import Format, Source
from rolesum.formats.speech_text import parse_speech
from rolesum.roles import roles_of_speakers

# Formats whose first lines may hold a colon too, and would pass for a label and a text.
_OTHERS = (subtitles.VTT, whatsapp.FORMAT, zoom.FORMAT)


def matches(source: Source) -> bool:
    if source.is_json or source.files or any(other.matches(source) for other in _OTHERS):
        return False
    speech = parse_speech(source.text)
    return bool(speech.turns) and not speech.stray


def read(source: Source) -> Iterator[Dialogue | Problem]:
    speech = parse_speech(source.text)
    turns, stray = speech.turns, speech.stray
    for line in stray:
        yield Problem("no speaker", f"{source.name}:{line}", 'begin each turn with "Speaker: "')
    if not turns:
        yield Problem('no turn of the form "Speaker: text" was found', source.name, "see docs/formats.md")
    if turns and not stray:
        yield Dialogue(
            id=source.stem,
            turns=tuple(turns),
            roles=roles_of_speakers([turn.speaker for turn in turns]),
            meta=speech.meta,
            source=source.name,
        )


FORMAT = Format(
    "plain", 'plain text: one dialogue a file, one turn a line, "Speaker: text" or "说话人：内容"', matches, read
)
