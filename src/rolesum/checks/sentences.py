"""Split a summary into sentences with their positions."""

import re
from dataclasses import dataclass

_ENDS_ZH = re.compile(r"[。！？!?\n]+[”’」』）)\"']*")
_ENDS_EN = re.compile(r"(?<![.!?])[.!?]++[”’)\"'\]]*(?=\s|$)|\n+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:(?:\w+\.)*[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|No|vs|etc|e\.g|i\.e|approx|Inc|Ltd|[ap]\.m)\.$",
    re.IGNORECASE,
)
_LONGEST_NAME = 40  # characters before a full stop that may belong to it: "dariusz.m. pays half"
_WORD = re.compile(r"\w")
_CLOSED = re.compile(r"[。！？.!?…~～][”’」』）)\]\"'\s]*$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence without the space around it; `start` and `end` count characters of the summary."""

    start: int
    end: int
    text: str


def split_sentences(text: str, language: str) -> list[Sentence]:
    """The sentences that hold a letter, digit or character, each with its closing mark."""
    found, begin = [], 0
    for end in (_ENDS_ZH if language == "zh" else _ENDS_EN).finditer(text):
        if language == "zh" or not _is_abbreviation(text, begin, end):
            found.append((begin, end.end()))
            begin = end.end()
    found.append((begin, len(text)))
    return [one for begin, end in found if (one := _trimmed(text, begin, end))]


def ends_sentence(text: str) -> bool:
    """Whether the text ends as a sentence does."""
    return bool(_CLOSED.search(text))


def _trimmed(text: str, begin: int, end: int) -> Sentence | None:
    piece = text[begin:end]
    if not _WORD.search(piece):
        return None
    begin += len(piece) - len(piece.lstrip())
    piece = piece.strip()
    return Sentence(begin, begin + len(piece), piece)


def _is_abbreviation(text: str, begin: int, end: re.Match[str]) -> bool:
    """Whether a full stop belongs to the word before it ("Dr. Lee"): then the sentence goes on."""
    if end.group() != "." or end.end() == len(text):
        return False
    before = _ABBREVIATION.search(text[max(begin, end.start() - _LONGEST_NAME) : end.end()])
    if not before:
        return False
    half_day = before.group().lower().endswith("m.")  # "at 5 p.m. She leaves"
    return not (half_day and text[end.end() :].lstrip()[:1].isupper())
