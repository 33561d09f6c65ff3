"""Longest common subsequences of many pairs at once, by bit-parallel dynamic programming over numpy words.

Bit i of a row's vector after column j says whether the table of lengths does not grow from reference token i to i + 1
(Hyyrö 2004): V' = (V + (V & M)) | (V & ~M), with M the reference tokens that equal the column's. The length is the
number of zeros, and which tokens were taken can be read from the vectors of all columns.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rolesum.metrics.tokenizers import Bools, Ints

WORD = 64
CELLS = 16_000_000  # of the match matrix that is held at a time
NO_PREDICTED, NO_REFERRED = -1, -2  # fill the ends of shorter rows and match nothing

Words = NDArray[np.uint64]
ONE = np.uint64(1)


def lcs_lengths(predicted: Ints, predicted_starts: Ints, referred: Ints, referred_starts: Ints) -> Ints:
    """The LCS length of row i of one with row i of the other; `…_starts`, (rows + 1,), tell the rows' tokens."""
    found = np.zeros(len(predicted_starts) - 1, dtype=np.int64)
    for rows, matches, first in _blocks(predicted, predicted_starts, referred, referred_starts):
        vectors = np.full((len(rows), matches.shape[2]), ~np.uint64(0))
        for column, begin in enumerate(first):
            vectors[begin:] = _advance(vectors[begin:], matches[begin:, column])
        found[rows] = np.bitwise_count(~vectors).sum(axis=1)
    return found


def lcs_marks(predicted: Ints, predicted_starts: Ints, referred: Ints, referred_starts: Ints, owners: Ints) -> Bools:
    """Which tokens an LCS takes, as rouge-score reads one out of its table: one mark for each of `owners`' tokens.

    `owners`, (referred tokens,), is the place of each token in the answer: several rows may own one token, and their
    marks are joined (the union LCS of a reference sentence with all sentences of the prediction).
    """
    marks = np.zeros(int(owners.max()) + 1 if len(owners) else 0, dtype=bool)
    for rows, matches, first in _blocks(predicted, predicted_starts, referred, referred_starts):
        in_lcs = _read_out(matches, first)
        bits = np.unpackbits(in_lcs.view(np.uint8), axis=1, bitorder="little").astype(bool)
        row, place = np.nonzero(bits)
        marks[owners[referred_starts[rows[row]] + place]] = True
    return marks


def _blocks(
    predicted: Ints, predicted_starts: Ints, referred: Ints, referred_starts: Ints
) -> Iterator[tuple[Ints, Words, Ints]]:
    """Rows of like size, the shortest first, with their matches, (rows, columns, words): bit i of column j says whether
    the tokens equal; and for each column the first row that is long enough to have it.
    """
    columns, heights = np.diff(predicted_starts), np.diff(referred_starts)
    predicted, referred = _narrow(predicted, referred)
    words = -(-heights // WORD)
    order = np.lexsort((columns, words))
    order = order[(columns[order] > 0) & (words[order] > 0)]
    begin = 0
    while begin < len(order):
        height = int(words[order[begin]]) * WORD
        end = int(np.searchsorted(words[order], height // WORD, side="right"))
        area = np.maximum.accumulate(columns[order[begin:end]]) * np.arange(1, end - begin + 1) * height
        end = begin + max(1, int(np.searchsorted(area, CELLS, side="right")))
        rows = order[begin:end]
        made = _table(predicted, predicted_starts[rows], columns[rows], int(columns[rows].max()), NO_PREDICTED)
        written = _table(referred, referred_starts[rows], heights[rows], height, NO_REFERRED)
        matches = np.packbits(made[:, :, None] == written[:, None, :], axis=2, bitorder="little")
        first = np.searchsorted(columns[rows], np.arange(made.shape[1]), side="right")
        yield rows, matches.view(np.uint64), first
        begin = end


def _narrow(predicted: Ints, referred: Ints) -> tuple[NDArray[np.signedinteger], NDArray[np.signedinteger]]:
    """The ids in the smallest type that holds them: comparing them all is most of the work."""
    largest = max(predicted.max(initial=0), referred.max(initial=0))
    kind = next(kind for kind in (np.int16, np.int32, np.int64) if largest <= np.iinfo(kind).max)
    return predicted.astype(kind), referred.astype(kind)


def _table(
    tokens: NDArray[np.signedinteger], begins: Ints, lengths: Ints, width: int, filler: int
) -> NDArray[np.signedinteger]:
    """The rows' tokens as a table, (rows, width), filled up on the right."""
    across = np.arange(width)
    places = np.minimum(begins[:, None] + across, len(tokens) - 1)
    return np.where(across < lengths[:, None], tokens[places], tokens.dtype.type(filler))


def _advance(vectors: Words, matches: Words) -> Words:
    """The vectors, (rows, words), one column on."""
    kept = vectors & matches
    total = vectors + kept
    if vectors.shape[1] > 1:
        carry = total[:, 0] < vectors[:, 0]
        for word in range(1, vectors.shape[1]):
            before = total[:, word] < vectors[:, word]
            total[:, word] += carry
            carry = before | (carry & (total[:, word] == 0))
    return np.bitwise_or(total, vectors ^ kept, dtype=np.uint64)


def _read_out(matches: Words, first: Ints) -> Words:
    """The reference tokens of each row's LCS as bits, (rows, words).

    rouge-score goes back from the table's far corner: a match is taken; else it goes left where only the cell to the
    left has the length, that is where the vector's bit is 0, and up otherwise. So in each column it stops at the
    highest bit, of those that are left, that matches or is 0.
    """
    rows, columns, words = matches.shape
    history = np.empty((columns, rows, words), dtype=np.uint64)
    vectors = np.full((rows, words), ~np.uint64(0))
    for column, begin in enumerate(first):
        vectors[begin:] = _advance(vectors[begin:], matches[begin:, column])
        history[column, begin:] = vectors[begin:]
    in_lcs = np.zeros((rows, words), dtype=np.uint64)
    left = np.full((rows, words), ~np.uint64(0))
    for column in range(columns - 1, -1, -1):
        begin = first[column]
        match = matches[begin:, column]
        below = _up_to_highest((match | ~history[column, begin:]) & left[begin:])  # up to where it stops
        highest = _highest_of(below)
        hit = highest & match
        in_lcs[begin:] |= hit
        left[begin:] = np.where(_any(hit), below ^ highest, below)
    return in_lcs


def _up_to_highest(bits: Words) -> Words:
    """All bits up to each row's highest one, itself included."""
    filled = bits.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        filled |= filled >> np.uint64(shift)
    for word in range(bits.shape[1] - 2, -1, -1):
        filled[:, word] = np.where(filled[:, word + 1] != 0, ~np.uint64(0), filled[:, word])
    return filled


def _highest_of(filled: Words) -> Words:
    """Each row's highest bit, of a row whose bits are set up to there."""
    above = filled >> ONE
    if filled.shape[1] > 1:
        above[:, :-1] |= filled[:, 1:] << np.uint64(WORD - 1)
    return filled ^ above


def _any(bits: Words) -> Bools:
    any_set: Bools = (bits != 0).any(axis=1, keepdims=True)
    return any_set
