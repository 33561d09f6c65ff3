"""Puts a summary together from the best-supported statements of several sampled summaries.

A model that writes a false sentence in one sample may write a true one in another, and a model that verifies tells them
apart better than a whole text that holds one of each. Of all statements of the samples, the best-supported are taken
that say different things, as many as a sample has, in the order in which the dialogue says them.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from rolesum.checks.evidence import find_turns
from rolesum.checks.index import DialogueIndex
from rolesum.checks.sentences import split_sentences
from rolesum.checks.statements import split_statements
from rolesum.checks.words import content_ngrams
from rolesum.dialogue import Dialogue

# Two statements that have a larger share of the shorter one's words and pairs of words in common say the same.
SAME_SHARE = 0.5
# The share of the other samples in which something like a statement is said counts this much beside its support.
AGREEMENT_WEIGHT = 0.1


def compose(dialogue: Dialogue, texts: Sequence[str], support: Mapping[str, float | None], threshold: float) -> str:
    """A text of the best-supported statements of `texts`, each of which is a sentence of its own.

    `support` is that of all their statements. A statement that needs the sentence before it is not taken, nor one under
    the `threshold`. Where none is left, the text whose lowest support is highest is returned as it is.
    """
    of_texts = [_statements(text, dialogue.language) for text in texts]
    words = {one: frozenset(content_ngrams(one, dialogue.language)) for of in of_texts for one in of}
    agreement = {one: _agreement(one, of_texts, words) for one in words}
    ranked = sorted(words, key=lambda one: -(support[one] or 0.0) - AGREEMENT_WEIGHT * agreement[one])
    most = max(1, round(median(len(of) for of in of_texts))) if of_texts else 1
    chosen: list[str] = []
    for one in ranked:
        if len(chosen) == most:
            break
        if (support[one] or 0.0) >= threshold and not any(_same(words[one], words[other]) for other in chosen):
            chosen.append(one)
    if not chosen:
        return _best(texts, support, dialogue.language)
    index = DialogueIndex(dialogue)
    places = {one: min(find_turns(one, index), default=len(dialogue.turns)) for one in chosen}
    gap = "" if dialogue.language == "zh" else " "
    return gap.join(sorted(chosen, key=lambda one: places[one]))


def _best(texts: Sequence[str], support: Mapping[str, float | None], language: str) -> str:
    def lowest(text: str) -> float:
        return min((support[one.text] or 0.0 for one in split_statements(text, language)), default=-1.0)

    return max(texts, key=lowest)


def _statements(text: str, language: str) -> list[str]:
    """The statements of a text that are understood alone: one sentence each, without the one before it in front."""
    found = [one.text for one in split_statements(text, language)]
    return [one for one in dict.fromkeys(found) if len(split_sentences(one, language)) == 1]


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) > SAME_SHARE * min(len(one), len(other))


def _agreement(one: str, of_texts: Sequence[Sequence[str]], words: Mapping[str, frozenset[str]]) -> float:
    """The share of the other texts that have a statement which says the same; a text does not count for its own."""
    hits = sum(any(_same(words[one], words[other]) for other in of) for of in of_texts)
    return (hits - 1) / max(1, len(of_texts) - 1)
