"""Centrality of turns: LexRank and TextRank, which are PageRank over a graph of turns."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Terms = Sequence[Sequence[Hashable]]  # of each turn

DAMPING = 0.85  # Brin and Page 1998; Mihalcea and Tarau 2004; Erkan and Radev 2004 write it as d = 0.15
LINK_FROM = 0.1  # the cosine from which two turns are linked, the lowest that Erkan and Radev 2004 try


def lexrank(terms: Terms, threshold: float | None = LINK_FROM) -> Floats:
    """Each turn's rank, (turns,): links between turns of tf-idf cosine `threshold` or more; None weighs by the cosine.

    Erkan and Radev, JAIR 22 (2004): LexRank and continuous LexRank. A turn is linked to itself, as there.
    Turns take the place of sentences, and idf is over the turns given.
    """
    cosines = cosine_similarities(terms)
    np.fill_diagonal(cosines, 1.0)
    return pagerank(cosines if threshold is None else (cosines >= threshold).astype(float))


def textrank(terms: Terms) -> Floats:
    """Each turn's rank, (turns,). The weight of two turns is |shared terms| / (log |A| + log |B|).

    Mihalcea and Tarau, EMNLP 2004. Two turns of one term each, for which it is undefined, are not linked.
    """
    kinds = [set(one) for one in terms]
    weights = np.zeros((len(terms), len(terms)))
    for row, left in enumerate(kinds):
        for column in range(row):
            lengths = len(terms[row]) * len(terms[column])
            shared = len(left & kinds[column])
            if shared and lengths > 1:
                weights[row, column] = weights[column, row] = shared / np.log(lengths)
    return pagerank(weights)


def cosine_similarities(terms: Terms, idf: bool = True) -> Floats:
    """Cosines of the turns' term counts, (turns, turns); `idf` weighs by log((1 + turns) / turns with the term)."""
    counts, holders = _counts(terms)
    vectors = counts * np.log((1 + len(terms)) / np.maximum(holders, 1)) if idf else counts
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.where(lengths > 0, lengths, 1.0)
    return np.asarray(vectors @ vectors.T, dtype=np.float64)


def pagerank(weights: Floats) -> Floats:
    """Solves rank = (1 - d) + d * sum of the neighbors' rank, each shared out by its weights, for (turns, turns).

    The rank of n linked turns sums to n; a turn without links keeps 1 - d.
    """
    totals = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    size = len(weights)
    return np.asarray(np.linalg.solve(np.eye(size) - DAMPING * shares.T, np.full(size, 1 - DAMPING)))


def _counts(terms: Terms) -> tuple[Floats, Floats]:
    """How often each term stands in each turn, (turns, terms), and in how many turns, (terms,)."""
    places = {term: place for place, term in enumerate(dict.fromkeys(term for one in terms for term in one))}
    counts = np.zeros((len(terms), len(places)))
    for row, one in enumerate(terms):
        for term, count in Counter(one).items():
            counts[row, places[term]] = count
    return counts, (counts > 0).sum(axis=0).astype(float)
