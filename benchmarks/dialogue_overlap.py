"""How alike the dialogues of a set are: near-duplicates, and stories that two splits share.

Both measures are exact. An index from n-grams to dialogues makes them fast, since few n-grams stand in two dialogues;
MinHash would only estimate the same Jaccard similarity.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations

from rolesum.checks.names import find_names
from rolesum.checks.sentences import split_sentences
from rolesum.checks.words import content_ngrams, ngrams, tokenize
from rolesum.dialogue import Dialogue

GRAM = 5  # words; characters in Chinese
# A content n-gram of more dialogues than this belongs to the register (refund, 退款), not to a story.
STORY_DIALOGUES = 40
_NUMBER = re.compile(r"\d[\d,.:-]*\d")
_LATIN = re.compile(r"[A-Za-z][A-Za-z0-9-]{2,}")

Pair = tuple[int, int]


def jaccard_pairs(dialogues: Sequence[Dialogue]) -> dict[Pair, float]:
    """Places of two dialogues -> Jaccard similarity of their turns' 5-grams, for pairs that share one."""
    sets = [
        {gram for turn in one.turns for gram in ngrams(tokenize(turn.text.lower(), one.language), GRAM)}
        for one in dialogues
    ]
    shared = Counter[Pair]()
    for places in _places(sets).values():
        shared.update(combinations(places, 2))
    return {
        (left, right): count / (len(sets[left]) + len(sets[right]) - count) for (left, right), count in shared.items()
    }


def story_pairs(dialogues: Sequence[Dialogue]) -> dict[Pair, float]:
    """Places of two dialogues -> cosine of their content n-grams, weighted by rarity, for pairs that share a rare one.

    The n-grams are those of turns and overall summaries; only those of at most STORY_DIALOGUES dialogues count.
    """
    sets = [
        set(
            content_ngrams(
                "\n".join([*(turn.text for turn in one.turns), *one.summaries.get("overall", ())]), one.language
            )
        )
        for one in dialogues
    ]
    held = _places(sets)
    weight = {gram: math.log(1 + len(dialogues) / len(places)) ** 2 for gram, places in held.items()}
    norms = [
        math.sqrt(sum(weight.get(gram, math.log(1 + len(dialogues)) ** 2) for gram in grams)) or 1.0 for grams in sets
    ]
    products = defaultdict[Pair, float](float)
    for gram, places in held.items():
        if len(places) <= STORY_DIALOGUES:
            for pair in combinations(places, 2):
                products[pair] += weight[gram]
    return {(left, right): product / (norms[left] * norms[right]) for (left, right), product in products.items()}


class Comparison:
    """What the dialogues of one language share, pair by pair; each measure is computed on first use."""

    def __init__(self, dialogues: Sequence[Dialogue]) -> None:
        self.dialogues = dialogues

    @cached_property
    def jaccard(self) -> dict[Pair, float]:
        return jaccard_pairs(self.dialogues)

    @cached_property
    def stories(self) -> dict[Pair, float]:
        return story_pairs(self.dialogues)

    @cached_property
    def details(self) -> list[set[str]]:
        return [details_of(one) for one in self.dialogues]

    def shared_details(self) -> Iterator[tuple[Pair, set[str]]]:
        """Pairs of one domain with the details that both have."""
        by_domain = defaultdict[str, list[int]](list)
        for place, one in enumerate(self.dialogues):
            by_domain[str(one.meta.get("domain"))].append(place)
        for places in by_domain.values():
            for left, right in combinations(places, 2):
                if both := self.details[left] & self.details[right]:
                    yield (left, right), both


def details_of(dialogue: Dialogue) -> set[str]:
    """What tells a story from another of its domain: numbers of three digits or more, and names said in the turns."""
    text = "\n".join(turn.text for turn in dialogue.turns)
    found = {one for one in _NUMBER.findall(text) if sum(map(str.isdigit, one)) >= 3}
    if dialogue.language == "zh":
        return found | {one.lower() for one in _LATIN.findall(text)}
    return found | {name.lower() for sentence in split_sentences(text, "en") for _, _, name in find_names(sentence)}


def _places(sets: Sequence[set[object]] | Sequence[set[str]]) -> Mapping[object, list[int]]:
    """Gram -> the places of the sets that hold it, for the grams of two sets at least."""
    found = defaultdict[object, list[int]](list)
    for place, grams in enumerate(sets):
        for gram in grams:
            found[gram].append(place)
    return {gram: places for gram, places in found.items() if len(places) > 1}
