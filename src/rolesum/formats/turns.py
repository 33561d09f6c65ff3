"""Turns from "Speaker: text" lines, with a Latin or a full-width colon, and from pieces of speech."""

import re
from collections.abc import Iterable

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.roles import roles_of_speakers

# A label has no colon, is short, and is no clock time or URL scheme ("10:30", "https://…").
_LABELED = re.compile(r"^(?P<speaker>[^:：\n]{0,59}[^:：\s])\s*+(?::(?!//)|：)\s*(?P<text>.*)$")
_NO_LABEL = re.compile(r"^[\d\s.,\-/]*$")
# A clock time in front of the label, as chat exports write it: "[10:30] Anna: …", "10:30:05 Anna: …".
_CLOCK = re.compile(r"^(\[\s*\d{1,2}:\d{2}(:\d{2})?\s*\]|\d{1,2}:\d{2}(:\d{2})?(?=\s+\S.*[:：]))\s*")
# Scripts that are written without spaces between words, their punctuation included.
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff60]")


def parse_turns(text: str) -> tuple[list[Turn], list[int]]:
    """The turns of a text, and the numbers of the lines (from 1) that belong to no turn.

    A clock time in front of a label is dropped. A line without a label continues the turn before it. Blank lines and
    turns without text are dropped.
    """
    turns: list[tuple[str, list[str]]] = []
    stray: list[int] = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if not line.strip():
            continue
        labeled = parse_labeled_line(line)
        if labeled:
            turns.append((labeled.speaker, [labeled.text] if labeled.text else []))
        elif turns:
            turns[-1][1].append(line.strip())
        else:
            stray.append(number)
    return [Turn(speaker, " ".join(pieces)) for speaker, pieces in turns if pieces], stray


def parse_labeled_line(line: str) -> Turn | None:
    """The turn that a line of the form "Speaker: text" begins, perhaps without text; None for any other line."""
    found = _LABELED.match(_CLOCK.sub("", line.strip()))
    if found and not _NO_LABEL.match(found["speaker"]):
        return Turn(found["speaker"].strip(), found["text"].strip())
    return None


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
    """The turns that have text; consecutive turns of one named speaker become one."""
    groups: list[tuple[str, list[str]]] = []
    for turn in turns:
        text = turn.text.strip()
        if text and groups and turn.speaker and turn.speaker == groups[-1][0]:
            groups[-1][1].append(text)
        elif text:
            groups.append((turn.speaker, [text]))
    return [Turn(speaker, join_speech(texts)) for speaker, texts in groups]


def transcript_dialogue(turns: Iterable[Turn], identity: str, place: str) -> Dialogue | Problem:
    """The dialogue of a transcript, in which consecutive pieces of one speaker are one turn."""
    spoken = merge_turns(turns)
    if not spoken:
        return Problem("nothing is said in it", place, "check the file and the format")
    return Dialogue(
        id=identity,
        turns=tuple(spoken),
        roles=roles_of_speakers([turn.speaker for turn in spoken]),
        source=place,
    )
