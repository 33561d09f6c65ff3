"""Turns from pieces of speech, and from one line that begins with a label."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.labels import Kind, label_kind
from rolesum.formats.speech_lines import parse_speech_line
from rolesum.roles import roles_of_speakers

# Scripts that are written without spaces between words, their punctuation included.
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff60]")


def parse_labeled_line(line: str) -> Turn | None:
    """The turn that a line of the form "Speaker: text" begins, perhaps without text; None for any other line.

    A time beside the label is the turn's. The line alone decides, so a label may still be a word such as "Note".
    """
    found = parse_speech_line(line)
    if not found or found.is_head or label_kind(found.speaker) is Kind.SENTENCE:
        return None
    return Turn(found.speaker, found.text, found.time)


def one_line(text: str) -> str:
    """The lines of a text as one."""
    return join_speech(line.strip() for line in text.split("\n"))


def join_speech(pieces: Iterable[str]) -> str:
    """Join pieces of speech: with a space, but with none between two Chinese or Japanese characters."""
    kept: list[str] = []
    for piece in pieces:
        if piece and kept and not (_UNSPACED.match(kept[-1][-1]) and _UNSPACED.match(piece[0])):
            kept.append(" ")
        if piece:
            kept.append(piece)
    return "".join(kept)


def merge_turns(turns: Iterable[Turn]) -> list[Turn]:
    """The turns that have text; consecutive turns of one named speaker become one, of the first one's time."""
    groups: list[tuple[Turn, list[str]]] = []
    for turn in turns:
        text = turn.text.strip()
        if text and groups and turn.speaker and turn.speaker == groups[-1][0].speaker:
            groups[-1][1].append(text)
        elif text:
            groups.append((turn, [text]))
    return [replace(first, text=join_speech(texts)) for first, texts in groups]


def no_turns(place: str) -> Problem:
    """The problem of a dialogue of which nothing is left to read."""
    return Problem("no turn has text", place, "leave the dialogue out, or name another format with --format")


def dropped_meta(dropped: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The entry of a dialogue's meta that counts what its reader left out, by kind; none where nothing was."""
    counts = {kind: count for kind, count in dropped.items() if count}
    return {"dropped": counts} if counts else {}


def transcript_dialogue(turns: Iterable[Turn], identity: str, place: str) -> Dialogue | Problem:
    """The dialogue of a transcript, in which consecutive pieces of one speaker are one turn."""
    spoken = merge_turns(turns)
    if not spoken:
        return no_turns(place)
    return Dialogue(
        id=identity,
        turns=tuple(spoken),
        roles=roles_of_speakers([turn.speaker for turn in spoken]),
        source=place,
    )
