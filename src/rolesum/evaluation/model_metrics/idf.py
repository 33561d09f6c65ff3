"""Inverse document frequencies as weights of tokens."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from rolesum.errors import DataError


class InverseDocumentFrequency:
    """log((n + 1) / (c + 1)) of a token id that stands in c of the n texts; of an unseen one, log(n + 1).

    Raises DataError for fewer than two texts, of which every token would count nothing.
    """

    def __init__(self, texts: Iterable[Sequence[int]]) -> None:
        seen = [set(ids) for ids in texts]
        if len(seen) < 2:
            fix = "give more pairs, or weigh all tokens evenly"
            raise DataError("inverse document frequencies of one text are all zero", fix=fix)
        self.count = len(seen)
        self.found = Counter(token for ids in seen for token in ids)

    def __call__(self, ids: Sequence[int]) -> list[float]:
        return [math.log((self.count + 1) / (self.found[token] + 1)) for token in ids]
