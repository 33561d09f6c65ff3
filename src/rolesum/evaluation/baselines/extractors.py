"""Extractors, one for each baseline: functions from a role's turns to the positions of those that the summary takes."""

from collections import Counter
from collections.abc import Callable, Hashable

import numpy as np

from rolesum.checks.index import DialogueIndex
from rolesum.evaluation.baselines.candidates import Candidates
from rolesum.evaluation.baselines.centrality import (
    LINK_FROM,
    Floats,
    cosine_similarities,
    lexrank,
    pagerank,
    textrank,
)
from rolesum.evaluation.baselines.terms import han_bigrams, rouge_tokens, similarity_terms
from rolesum.generation.key_turns import rank_turns
from rolesum.roles import AGENT, OVERALL, USER

Extractor = Callable[[Candidates], list[int]]  # places among the candidates

# Characters, labels and colons counted, read off CSDS's published outputs: no Longest output ends below its role's
# budget while turns are left, and no LexPageRank output reaches it. A role that CSDS lacks has the overall budget.
CSDS_BUDGETS = {OVERALL: 84, USER: 38, AGENT: 49}
# The defaults of PKUSUMSUM, a toolkit with a method of that name: what a chosen turn takes from those like it, and the
# power of its length by which a turn's rank is divided.
REDUNDANCY = 0.7
LENGTH_POWER = 0.1

DIGITS = 9  # ranks that differ in rounding only are equal


def lead(case: Candidates, turns: int) -> list[int]:
    return list(range(len(case.turns)))[:turns]


def longest(case: Candidates, turns: int) -> list[int]:
    """The turns with the most characters, labels not counted; of equals, the earlier."""
    return _best([len(turn.text) for turn in case.turns], turns)


def last(case: Candidates) -> list[int]:
    return [len(case.turns) - 1]


def by_textrank(case: Candidates, turns: int) -> list[int]:
    return _best(textrank(_terms(case)).tolist(), turns)


def by_lexrank(case: Candidates, turns: int) -> list[int]:
    return _best(lexrank(_terms(case)).tolist(), turns)


def by_continuous_lexrank(case: Candidates, turns: int) -> list[int]:
    return _best(lexrank(_terms(case), threshold=None).tolist(), turns)


def by_key_turns(case: Candidates, turns: int) -> list[int]:
    """The turns that readers would choose by the weights of generation/key_turns.py, without any statements."""
    ranked = rank_turns(DialogueIndex(case.dialogue), case.places, ())
    return [case.places.index(place) for place in ranked[:turns]]


def csds_longest(case: Candidates) -> list[int]:
    """The longest turns one by one until they reach the budget."""
    budget, chosen, length = _budget(case), list[int](), 0
    for place in _best([len(piece) for piece in case.pieces], len(case.pieces)):
        if length >= budget:
            break
        chosen.append(place)
        length += len(case.pieces[place])
    return chosen


def csds_lexpagerank(case: Candidates) -> list[int]:
    """The best ranked turns that stay below the budget; what a chosen turn says already counts less in the others.

    Terms are the Chinese bigrams of label and text. A dialogue whose every turn is longer than the budget gives the
    best ranked one. The published ranking is not known: docs/baselines.md says how near this one comes.
    """
    cosines = cosine_similarities([han_bigrams(piece) for piece in case.pieces], idf=False)
    links = (cosines >= LINK_FROM).astype(float)
    links[range(len(links)), range(len(links))] = 0.0
    ranks = pagerank(links)
    budget, lengths, chosen, length = _budget(case), [len(piece) for piece in case.pieces], list[int](), 0
    while True:
        left = [place for place in range(len(lengths)) if place not in chosen and length + lengths[place] < budget]
        if not left:
            return chosen or _best(_worth(ranks, cosines, lengths, []), 1)
        worth = _worth(ranks, cosines, lengths, chosen)
        chosen.append(max(left, key=worth.__getitem__))
        length += lengths[chosen[-1]]


def _worth(ranks: Floats, cosines: Floats, lengths: list[int], chosen: list[int]) -> list[float]:
    """Maximal marginal relevance, divided by a power of the length (with the full stop that a turn then has)."""
    known = (REDUNDANCY * cosines[:, chosen] * ranks[chosen]).max(axis=1, initial=0.0)
    found = (ranks - known).tolist()
    return [round(worth / (length + 1) ** LENGTH_POWER, DIGITS) for worth, length in zip(found, lengths, strict=True)]


def _budget(case: Candidates) -> int:
    return CSDS_BUDGETS.get(case.role, CSDS_BUDGETS[OVERALL])


def _best(worth: list[int] | list[float], count: int) -> list[int]:
    """Places of the highest values; of equals, the earlier."""
    return sorted(range(len(worth)), key=lambda place: (-round(worth[place], DIGITS), place))[:count]


def _terms(case: Candidates) -> list[list[Hashable]]:
    return similarity_terms([turn.text for turn in case.turns], case.dialogue.language)


def oracle(case: Candidates) -> list[int]:
    """Places of the turns, best first: greedy on ROUGE-1 F plus ROUGE-2 F against the first reference.

    Nallapati et al., AAAI 2017 (SummaRuNNer). It stops when no turn raises the sum, and takes one turn at least. Greedy
    choice is no exact optimum, and other scorers and further references are not looked at.
    """
    reference, *pieces = rouge_tokens([case.dialogue.summaries[case.role][0], *case.pieces], case.dialogue.language)
    words, pairs = (_NgramMatches(reference, pieces, size) for size in (1, 2))
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


class _NgramMatches:
    """The n-grams of one size: how many of the reference's each turn holds, and how many it has in all."""

    def __init__(self, reference: list[Hashable], pieces: list[list[Hashable]], size: int) -> None:
        wanted = Counter(_ngrams(reference, size))
        counts = [Counter(_ngrams(piece, size)) for piece in pieces]
        self.wanted = np.array(list(wanted.values()))  # (grams,)
        self.held = np.array([[count[gram] for gram in wanted] for count in counts]).reshape(len(pieces), len(wanted))
        self.totals = np.array([count.total() for count in counts])  # (turns,)

    def scores(self, chosen: list[int]) -> Floats:
        """F of the chosen turns with each other one added, (turns,)."""
        held = self.held + self.held[chosen].sum(axis=0)
        shared = np.minimum(held, self.wanted).sum(axis=1)
        both = self.totals + self.totals[chosen].sum() + self.wanted.sum()
        return np.asarray(2 * shared / np.maximum(both, 1))


def _ngrams(tokens: list[Hashable], size: int) -> list[tuple[Hashable, ...]]:
    return list(zip(*(tokens[place:] for place in range(size)), strict=False))
