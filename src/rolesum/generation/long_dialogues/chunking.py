"""Splits a dialogue into chunks of whole turns that fit a model: as few as possible, and of similar size."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rolesum.dialogue import Dialogue, Turn

# Where a turn that does not fit by itself may be cut: after a sentence, else after a clause or a word. A run of marks
# matches from its start, and from inside of it only a few marks, so that long runs take linear time.
_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]++|\.[.!?…]{0,20}+)[\"'”’)\]]*\s+|[。！？!?…]+[”’」』）]*\s*|\n+")
_WORD_END = re.compile(r"\s+|[，、；]")

# A placeholder of redaction, [PHONE_1], is never cut.
_PLACEHOLDER = re.compile(r"\[[A-Z]+_\d+\]")

# The last turns of a chunk stand again at the beginning of the next one, so that an answer is not parted from its
# question, nor a "yes, do that" from what it agrees to: mostly that is the turn before, or the one before that. Turns
# that would take more than this share of a chunk are left out.
OVERLAP_TURNS = 2
_LARGEST_OVERLAP = 0.2

# Sizes are counted in characters, not tokens: text longer than n chunks by this share of one may still fit into n.
_SIZE_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class TurnSpan:
    """A turn, or a part of one that does not fit by itself; `index` is the turn's place in its dialogue, from 0.

    `is_repeated` says that the chunk before has it too.
    """

    index: int
    turn: Turn
    is_repeated: bool = False


Chunk = tuple[TurnSpan, ...]
Fits = Callable[[Chunk], bool]


def turn_spans(dialogue: Dialogue) -> Chunk:
    return tuple(TurnSpan(place, turn) for place, turn in enumerate(dialogue.turns))


def split_into_chunks(
    spans: Chunk, fits: Fits, *, whole: bool = False, overlapping: bool = False
) -> list[Chunk] | None:
    """Split spans, in order, into as few chunks as fit; of similar size where such chunks fit too.

    A turn that does not fit by itself is cut; with `whole`, the result is None instead, as it is where not even one
    character fits. `fits` must hold for every part of a chunk that it holds for. Where the chunks are `overlapping`,
    each begins with the last turns of the one before it.
    """
    found, rest = list[Chunk](), spans
    before: Chunk = ()
    while rest:
        taken = _largest_chunk(rest, fits, whole, before)
        if taken is None:
            return None
        chunk, rest = taken
        found.append(chunk)
        before = last_turns(chunk) if overlapping else ()
    return _balance(found, fits, overlapping) or found


def next_chunk(spans: Chunk, fits: Fits, before: Chunk = ()) -> tuple[Chunk, Chunk] | None:
    """The first chunk and the rest. The chunk is made no larger than chunks of similar size require.

    It begins with the spans `before`, where they fit. None where not even one character fits.
    """
    taken = _largest_chunk(spans, fits, False, before)
    if taken is None or not taken[1]:
        return taken
    largest, rest = taken
    own = new_spans(largest)
    if own[-1] not in spans:  # the one turn was cut
        return largest, rest
    size = _size(spans)
    count = max(2, math.ceil(size / _size(own) - _SIZE_TOLERANCE))
    many = min(_even_share(spans, size, count), len(own))
    return largest[: len(largest) - len(own)] + spans[:many], spans[many:]


def last_turns(chunk: Chunk) -> Chunk:
    """The last turns of a chunk, as those with which the next one begins; none where they are long."""
    last = new_spans(chunk)[-OVERLAP_TURNS:]
    while last and _size(last) > _LARGEST_OVERLAP * _size(chunk):
        last = last[1:]
    return tuple(replace(span, is_repeated=True) for span in last)


def new_spans(chunk: Chunk) -> Chunk:
    """The spans of a chunk that the chunk before does not have."""
    return tuple(span for span in chunk if not span.is_repeated)


def _largest_chunk(spans: Chunk, fits: Fits, whole: bool, before: Chunk = ()) -> tuple[Chunk, Chunk] | None:
    """As many spans as fit after those `before` them, or the part of the first one that does; and the rest."""
    many = _count_fitting(spans, fits, before)
    if many:
        return before + spans[:many], spans[many:]
    if before:
        return _largest_chunk(spans, fits, whole)
    if whole:
        return None
    first = spans[0]

    def span(text: str) -> TurnSpan:
        return replace(first, turn=replace(first.turn, text=text))

    parts = _cut(first.turn.text.strip(), lambda text: fits((span(text),)))
    if parts is None:
        return None
    head, tail = parts
    return (span(head),), (span(tail), *spans[1:])


def _count_fitting(spans: Chunk, fits: Fits, before: Chunk = ()) -> int:
    """The number of spans, from the first on, that fit after those `before` them."""
    return _most(len(spans), lambda count: fits(before + spans[:count]))


def _cut(text: str, fits: Callable[[str], bool]) -> tuple[str, str] | None:
    """The start of a text that fits, up to the end of a sentence or else of a word if there is one, and the rest."""
    many = _most(len(text) - 1, lambda count: fits(text[:count]))
    if not many:
        return None
    ends = [[end.end() for end in pattern.finditer(text, 0, many)] for pattern in (_SENTENCE_END, _WORD_END)]
    chosen = next((end for found in ends for end in reversed(found) if fits(text[:end].rstrip())), None)
    if chosen is None:
        cut = next((one for one in _PLACEHOLDER.finditer(text) if one.start() < many < one.end()), None)
        chosen = cut.start() if cut and cut.start() else many
    return text[:chosen].rstrip(), text[chosen:].lstrip()


def _most(limit: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to `limit` for which `holds`, or 0. Tries by doubling, so none is much larger than that."""
    known, beyond = 0, 1
    while beyond <= limit and holds(beyond):
        known, beyond = beyond, 2 * beyond
    beyond = min(beyond, limit + 1)
    while beyond - known > 1:
        middle = (known + beyond) // 2
        if holds(middle):
            known = middle
        else:
            beyond = middle
    return known


def _balance(chunks: Sequence[Chunk], fits: Fits, overlapping: bool) -> list[Chunk] | None:
    """The same spans in as many chunks, each the even share of what is left or, where that does not fit, what fits.

    None where too much is left for the last chunk, or not one span fits after the last turns of the chunk before.
    """
    found, rest = list[Chunk](), tuple(span for chunk in chunks for span in new_spans(chunk))
    before: Chunk = ()
    size = _size(rest)
    for left in range(len(chunks), 0, -1):
        share = rest[: _even_share(rest, size, left)]
        many = len(share) if fits(before + share) else _count_fitting(share, fits, before)
        if not many:
            return None
        found.append(before + rest[:many])
        size -= _size(rest[:many])
        rest = rest[many:]
        if not rest:
            return found
        before = last_turns(found[-1]) if overlapping else ()
    return None


def _even_share(spans: Chunk, total: int, count: int) -> int:
    """The number of spans in the first of `count` chunks of about equal size; `total` is the size of all."""
    end, chunk = 0, -1
    for place, span in enumerate(spans):
        size = _size((span,))
        end += size
        now = int((end - size / 2) * count / total)
        if place and now != chunk:
            return place
        chunk = now
    return len(spans)


def _size(spans: Sequence[TurnSpan]) -> int:
    """Characters, with a few more for each turn."""
    return sum(len(span.turn.speaker) + len(span.turn.text) + 3 for span in spans)
