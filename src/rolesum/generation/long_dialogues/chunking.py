"""Cutting a dialogue into chunks of whole turns that fit a model: as few as it takes, and of like size."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rolesum.dialogue import Dialogue, Turn

# Where a turn that does not fit by itself may be cut: behind a sentence, else behind a clause or a word.
# A run of marks is read from its beginning; from within only a little of it, or long ones would be read ever again.
_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]++|\.[.!?…]{0,20}+)[\"'”’)\]]*\s+|[。！？!?…]+[”’」』）]*\s*|\n+")
_WORD_END = re.compile(r"\s+|[，、；]")

# Characters are no tokens: text of so little more than some chunks' size may well go into that many.
_A_HAIR = 0.1


@dataclass(frozen=True, slots=True)
class TurnSpan:
    """A turn, or a part of one that does not fit by itself; `place` is the turn's in its dialogue, from 0."""

    index: int
    turn: Turn


Chunk = tuple[TurnSpan, ...]
Fits = Callable[[Chunk], bool]


def turn_spans(dialogue: Dialogue) -> Chunk:
    return tuple(TurnSpan(place, turn) for place, turn in enumerate(dialogue.turns))


def split_into_chunks(pieces: Chunk, fits: Fits, *, whole: bool = False) -> list[Chunk] | None:
    """All pieces, in order, in as few chunks as fit one after the other; of like size where such ones fit too.

    A turn that does not fit by itself is cut. With `whole` none is, and one that does not fit gives None. So does room
    for not one character. `fits` must hold for every shorter chunk once it holds for a longer one.
    """
    found, rest = [], pieces
    while rest:
        taken = _largest_chunk(rest, fits, whole)
        if taken is None:
            return None
        chunk, rest = taken
        found.append(chunk)
    return _evened(found, fits) or found


def next_chunk(pieces: Chunk, fits: Fits) -> tuple[Chunk, Chunk] | None:
    """The first chunk and the rest. The chunk is no larger than it takes for those behind it to be of like size.

    None where there is room for not one character.
    """
    taken = _largest_chunk(pieces, fits, whole=False)
    if taken is None or not taken[1]:
        return taken
    largest, rest = taken
    if largest[-1] not in pieces:  # the one turn was cut
        return largest, rest
    size = _size(pieces)
    count = max(2, math.ceil(size / _size(largest) - _A_HAIR))
    many = min(_even_share(pieces, size, count), len(largest))
    return pieces[:many], pieces[many:]


def _largest_chunk(pieces: Chunk, fits: Fits, whole: bool) -> tuple[Chunk, Chunk] | None:
    """As many pieces as fit, or the part of the first one that does; and the rest."""
    many = _how_many(pieces, fits)
    if many:
        return pieces[:many], pieces[many:]
    if whole:
        return None
    first = pieces[0]

    def piece(text: str) -> TurnSpan:
        return replace(first, turn=replace(first.turn, text=text))

    parts = _cut(first.turn.text.strip(), lambda text: fits((piece(text),)))
    if parts is None:
        return None
    head, tail = parts
    return (piece(head),), (piece(tail), *pieces[1:])


def _how_many(pieces: Chunk, fits: Fits) -> int:
    """As many pieces from the first on as fit."""
    return _most(len(pieces), lambda count: fits(pieces[:count]))


def _cut(text: str, fits: Callable[[str], bool]) -> tuple[str, str] | None:
    """The beginning of a text that fits, up to the end of a sentence or else of a word if it has one, and the rest."""
    many = _most(len(text) - 1, lambda count: fits(text[:count]))
    if not many:
        return None
    ends = [[end.end() for end in pattern.finditer(text, 0, many)] for pattern in (_SENTENCE_END, _WORD_END)]
    chosen = next((end for found in ends for end in reversed(found) if fits(text[:end].rstrip())), many)
    return text[:chosen].rstrip(), text[chosen:].lstrip()


def _most(limit: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to `limit` for which `holds`, or 0. By doubling: no trial is much larger than that."""
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


def _evened(chunks: Sequence[Chunk], fits: Fits) -> list[Chunk] | None:
    """The same pieces in as many chunks, each the even share of what is left or, where that does not fit, what does.

    None where too much is left for the last one.
    """
    found, rest = [], tuple(piece for chunk in chunks for piece in chunk)
    size = _size(rest)
    for left in range(len(chunks), 0, -1):
        share = rest[: _even_share(rest, size, left)]
        many = len(share) if fits(share) else _how_many(share, fits)
        found.append(rest[:many])
        size -= _size(rest[:many])
        rest = rest[many:]
        if not rest:
            return found
    return None


def _even_share(pieces: Chunk, total: int, count: int) -> int:
    """How many pieces are the first of `count` chunks of about as many of the `total` characters."""
    end, chunk = 0, -1
    for place, piece in enumerate(pieces):
        size = _size((piece,))
        end += size
        now = int((end - size / 2) * count / total)
        if place and now != chunk:
            return place
        chunk = now
    return len(pieces)


def _size(pieces: Sequence[TurnSpan]) -> int:
    """Characters, a few more for each turn's own."""
    return sum(len(piece.turn.speaker) + len(piece.turn.text) + 3 for piece in pieces)
