"""The best that copying turns can reach: turns taken one by one while they raise ROUGE against the reference."""

from collections import Counter
from collections.abc import Hashable

import numpy as np

from rolesum.evaluation.baselines.case import Candidates
from rolesum.evaluation.baselines.centrality import Floats
from rolesum.evaluation.baselines.terms import rouge_tokens


def oracle(case: Candidates) -> list[int]:
    """Places of the turns, best first: greedy on ROUGE-1 F plus ROUGE-2 F against the first reference.

    Nallapati et al., AAAI 2017 (SummaRuNNer). It stops when no turn raises the sum, and takes one turn at least. Greedy
    choice is no exact optimum, and other scorers and further references are not looked at.
    """
    reference, *pieces = rouge_tokens([case.dialogue.summaries[case.role][0], *case.pieces], case.dialogue.language)
    words, pairs = (_Order(reference, pieces, size) for size in (1, 2))
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < len(pieces):
        sums = words.scores(chosen) + pairs.scores(chosen)
        sums[chosen] = -1.0
        place = int(np.argmax(sums))
        if chosen and sums[place] <= best:
            break
        chosen.append(place)
        best = float(sums[place])
    return chosen


class _Order:
    """The n-grams of one size: how many of the reference's each turn holds, and how many it has in all."""

    def __init__(self, reference: list[Hashable], pieces: list[list[Hashable]], size: int) -> None:
        wanted = Counter(_grams(reference, size))
        counts = [Counter(_grams(piece, size)) for piece in pieces]
        self.wanted = np.array(list(wanted.values()))  # (grams,)
        self.held = np.array([[count[gram] for gram in wanted] for count in counts]).reshape(len(pieces), len(wanted))
        self.totals = np.array([count.total() for count in counts])  # (turns,)

    def scores(self, chosen: list[int]) -> Floats:
        """F of the chosen turns with each other one added, (turns,)."""
        held = self.held + self.held[chosen].sum(axis=0)
        shared = np.minimum(held, self.wanted).sum(axis=1)
        both = self.totals + self.totals[chosen].sum() + self.wanted.sum()
        return np.asarray(2 * shared / np.maximum(both, 1))


def _grams(tokens: list[Hashable], size: int) -> list[tuple[Hashable, ...]]:
    return list(zip(*(tokens[place:] for place in range(size)), strict=False))
