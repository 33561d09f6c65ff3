"""Count the n-grams that two texts share, for many pairs of texts at once: the basis of ROUGE-N, BLEU and chrF."""

from dataclasses import dataclass

import numpy as np

from rolesum.metrics.tokenizers import Bools, Ints, TokenizedTexts

_BITS = 63  # of a key: the pair, the n-gram and the side


@dataclass(frozen=True)
class NgramOverlap:
    """By pair: n-grams of both texts counted as often as in the text that has fewer, and those of either text."""

    shared: Ints
    prediction_count: Ints
    reference_count: Ints


def ngram_overlaps(predictions: TokenizedTexts, references: TokenizedTexts, orders: int) -> list[NgramOverlap]:
    """The overlaps of 1-grams to `orders`-grams between text i of one and text i of the other."""
    return PairedNgrams(predictions, references).overlaps(orders)


class PairedNgrams:
    """Pairs of texts whose tokens are numbered together, so that n-grams become whole numbers, without collision."""

    def __init__(self, predictions: TokenizedTexts, references: TokenizedTexts) -> None:
        self.pairs = len(predictions.lengths)
        self.sides = (predictions, references)
        split = len(predictions.ids)
        ids, self.kinds = _numbered(np.concatenate([predictions.ids, references.ids]))
        self.ids = (ids[:split], ids[split:])

    def overlaps(self, orders: int) -> list[NgramOverlap]:
        found = []
        codes, kinds = self.ids, self.kinds  # of the n-grams that begin at each token
        for order in range(1, orders + 1):
            if order > 1:
                codes, kinds = self._longer(codes, kinds, order)
            found.append(self._overlap(codes, kinds, order))
        return found

    def shared_with_marked(self, wanted: Bools) -> Ints:
        """By pair, how many tokens a prediction shares with the `wanted`, (reference tokens,), of its reference."""
        owners = (self.sides[0].text_of_token, self.sides[1].text_of_token[wanted])
        return _shared(self.ids[0], self.ids[1][wanted], *owners, self.kinds, self.pairs)

    def _longer(self, codes: tuple[Ints, Ints], kinds: int, order: int) -> tuple[tuple[Ints, Ints], int]:
        """Each (order - 1)-gram with the token after it. Those that run over their text's end are left out later."""
        room = _BITS - 1 - self.pairs.bit_length()
        if (kinds * self.kinds).bit_length() > room:
            split = len(codes[0])
            dense, kinds = _numbered(np.concatenate(codes))
            codes = (dense[:split], dense[split:])
        grown = []
        for of_side, ids in zip(codes, self.ids, strict=True):
            following = ids[order - 1 :]
            longer = np.zeros_like(of_side)
            longer[: len(following)] = of_side[: len(following)] * self.kinds + following
            grown.append(longer)
        return (grown[0], grown[1]), kinds * self.kinds

    def _overlap(self, codes: tuple[Ints, Ints], kinds: int, order: int) -> NgramOverlap:
        chosen, owners = [], []
        for of_side, side in zip(codes, self.sides, strict=True):
            whole = np.arange(len(of_side)) + order <= side.starts[1:][side.text_of_token] if order > 1 else slice(None)
            chosen.append(of_side[whole])
            owners.append(side.text_of_token[whole])
        shared = _shared(chosen[0], chosen[1], owners[0], owners[1], kinds, self.pairs)
        counts = (np.maximum(side.lengths - order + 1, 0) for side in self.sides)
        return NgramOverlap(shared, *counts)


def _shared(
    predicted_codes: Ints, reference_codes: Ints, prediction_pairs: Ints, reference_pairs: Ints, kinds: int, pairs: int
) -> Ints:
    """By pair, the codes in both lists, each as often as in the list that has it less often.

    All (pair, code, list) are sorted as one number; equal neighbors are counted in runs.
    """
    keys = np.concatenate(
        [(prediction_pairs * kinds + predicted_codes) << 1, ((reference_pairs * kinds + reference_codes) << 1) | 1]
    )
    if not len(keys):
        return np.zeros(pairs, dtype=np.int64)
    keys.sort()
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    counts = np.diff(np.append(first, len(keys)))
    runs = keys[first]
    both = np.flatnonzero(runs[:-1] + 1 == runs[1:])
    both = both[(runs[both] & 1) == 0]
    smaller = np.minimum(counts[both], counts[both + 1])
    owners = (runs[both] >> 1) // kinds
    return np.bincount(owners, weights=smaller, minlength=pairs).astype(np.int64)


def _numbered(codes: Ints) -> tuple[Ints, int]:
    """The codes as numbers from 0, equal ones alike, and how many there are."""
    if not len(codes):
        return codes, 1
    largest = int(codes.max())
    if largest < 4 * len(codes) + (1 << 17):  # a table is faster than sorting
        known = np.zeros(largest + 1, dtype=bool)
        known[codes] = True
        return (np.cumsum(known) - 1)[codes], int(known.sum())
    kinds, dense = np.unique(codes, return_inverse=True)
    return dense.astype(np.int64), len(kinds)
