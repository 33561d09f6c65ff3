"""Split a summary into marked pieces for the report: statements or sentences with their turns, overlap, flags."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rolesum.checks.types import CheckedSummary, Flag
from rolesum.dialogue import SummaryStatement

# How long a run must be to be marked: in characters for Chinese, in words for other languages.
MIN_RUN = {"zh": 3, "en": 2}
STOPS = frozenset("。！？；，、,.!?;:：")  # no run goes on over one
NO_CHECKS = CheckedSummary((), (), {})

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A stretch of text that is all of one kind. `notes` are the notes of the flags that cover it."""

    text: str
    matched: bool
    notes: str


@dataclass(frozen=True, slots=True)
class MarkedSentence:
    """A sentence of a summary, or a statement that was verified.

    Attributes:
        turns: Those that hold most of it, counted from 1, in the dialogue's order.
        pieces: Its text.
        is_unsupported: Whether it is a sentence for which turns were sought and none was found.
        doubt: The support of a doubtful statement; None for any other text.
    """

    turns: tuple[int, ...]
    pieces: tuple[TextPiece, ...]
    is_unsupported: bool = False
    doubt: float | None = None


@dataclass(frozen=True, slots=True)
class _MarkedSpan:
    """A MarkedSentence without its pieces, and its place."""

    start: int
    end: int
    turns: tuple[int, ...]
    is_unsupported: bool = False
    doubt: float | None = None


def matching_spans(text: str, references: Sequence[str], language: str) -> list[Span]:
    """The spans of `text` whose tokens stand one after the other in some reference too, at least RUN of them."""
    size = MIN_RUN.get(language, MIN_RUN["en"])
    known = {gram for reference in references for gram, _, _ in _grams(reference, size, language)}
    spans: list[Span] = []
    for gram, start, end in _grams(text, size, language):
        if gram not in known:
            continue
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def mark_sentences(
    text: str,
    matched: Sequence[Span],
    checked: CheckedSummary = NO_CHECKS,
    statements: Sequence[SummaryStatement] = (),
    threshold: float | None = None,
) -> list[MarkedSentence]:
    """The text in order, nothing lost: joined again, the pieces are the text.

    It is parted by the `statements`, of which those with a support under the threshold are doubtful; without any, by
    the sentences for which the checks sought turns.
    """
    found, place = [], 0
    for span in sorted(_spans(checked, statements, threshold), key=lambda one: one.start):
        start, end = max(place, span.start), min(len(text), span.end)
        if start >= end:
            continue
        if start > place:
            found.append(MarkedSentence((), tuple(_pieces(text, (place, start), matched, checked.flags))))
        pieces = tuple(_pieces(text, (start, end), matched, checked.flags))
        found.append(MarkedSentence(_from_one(span.turns), pieces, span.is_unsupported, span.doubt))
        place = end
    if place < len(text):
        found.append(MarkedSentence((), tuple(_pieces(text, (place, len(text)), matched, checked.flags))))
    return found


def _spans(
    checked: CheckedSummary, statements: Sequence[SummaryStatement], threshold: float | None
) -> list[_MarkedSpan]:
    if not statements:
        return [_MarkedSpan(one.start, one.end, one.turns, not one.turns) for one in checked.evidence]
    return [
        _MarkedSpan(one.start, one.end, one.turns, doubt=one.support if one.is_under(threshold) else None)
        for one in statements
    ]


def _from_one(turns: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(turn + 1 for turn in turns))


def _pieces(text: str, span: Span, matched: Sequence[Span], flags: Sequence[Flag]) -> Iterator[TextPiece]:
    start, end = span
    ends = [edge for pair in matched for edge in pair] + [edge for flag in flags for edge in (flag.start, flag.end)]
    cuts = sorted({start, end, *(edge for edge in ends if start < edge < end)})
    begins = [first for first, _ in matched]
    for left, right in pairwise(cuts):
        before = bisect_right(begins, left) - 1
        notes = "; ".join(flag.note for flag in flags if flag.start <= left and right <= flag.end)
        yield TextPiece(text[left:right], before >= 0 and right <= matched[before][1], notes)


def _grams(text: str, size: int, language: str) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Each run of `size` tokens with its start and end in the text."""
    pattern = r"\S" if language == "zh" else r"\w+(?:['’]\w+)*|[^\w\s]"
    tokens = [(match.group().lower(), match.start(), match.end()) for match in re.finditer(pattern, text)]
    for place in range(len(tokens) - size + 1):
        run = tokens[place : place + size]
        gram = tuple(token for token, _, _ in run)
        if STOPS.isdisjoint(gram):
            yield gram, run[0][1], run[-1][2]
