"""Choosing one of several sampled texts: what most of them say, what the dialogue supports, or what is likeliest."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rolesum.checks import check_summary
from rolesum.dialogue import Dialogue, detect_language
from rolesum.errors import UsageError, did_you_mean
from rolesum.generation.engine import Generation
from rolesum.metrics.rouge import rouge
from rolesum.metrics.scorers import SCORERS, Scorer, get_scorer

# Picks one of several texts for a role of a dialogue, by its number.
Reranker = Callable[[Dialogue, str, Sequence[Generation]], int]

# Name -> what it takes. Behind mbr may stand a scorer: mbr:samsum.
RERANKERS = {
    "mbr": "the text that is most like the others by ROUGE (minimum Bayes risk); mbr:SCORER names the scorer",
    "checks": "the text with the fewest faults that the model-free checks find",
    "likeliest": "the text with the highest mean log-probability of its tokens",
}

ROUGE_MEASURES = 3  # of a scorer's: ROUGE-1, ROUGE-2 and ROUGE-L

# A larger share of repeated 4-grams is a fault: the text is caught in a loop. None of 300 references of SAMSum's and of
# 450 of CSDS's repeats a fifth of its 4-grams.
MAX_REPEATED_SHARE = 0.25


def get_reranker(name: str) -> Reranker:
    """The choice of that name. Raises UsageError for an unknown one.

    Of texts that are equally good the first is taken; one without words only where none has any.
    """
    kind, _, scorer = name.partition(":")
    if kind not in RERANKERS or (scorer and kind != "mbr"):
        known = [*RERANKERS, *(f"mbr:{one}" for one in SCORERS)]
        raise UsageError(f'unknown choice "{name}"', fix=did_you_mean(name, known))
    if kind == "mbr":
        return partial(_by_likeness, get_scorer(scorer) if scorer else None)
    return _by_checks if kind == "checks" else _by_likelihood


def _by_likeness(scorer: Scorer | None, dialogue: Dialogue, role: str, texts: Sequence[Generation]) -> int:
    """The text with the highest mean ROUGE F1 to the others.

    Minimum Bayes risk (Kumar and Byrne 2004) with the samples in the place of the n-best list (Eikema and Aziz 2020).
    """
    counts = Counter(one.text for one in texts)
    different = list(counts)
    alike = pairwise_rouge(scorer or _scorer_for(dialogue, different), different)
    weights = np.array([counts[text] for text in different])
    # Equal texts count as often as they were sampled, each but for itself.
    gain = dict(zip(different, alike @ weights - np.diag(alike), strict=True))
    return _best(texts, lambda one: (gain[one.text],))


def pairwise_rouge(scorer: Scorer, texts: Sequence[str]) -> NDArray[np.float64]:
    """(texts, texts): the mean of the scorer's ROUGE-1, 2 and L F1 of text i as prediction and text j as reference."""
    count = len(texts)
    made, written = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    measures = scorer.measures[:ROUGE_MEASURES]
    if scorer.compute:
        scored = scorer.compute([texts[n] for n in made.tolist()], [texts[n] for n in written.tolist()])
        values = [scored[measure] for measure in measures]
    else:
        tokens = scorer.tokenize([scorer.prepare(text) for text in texts])
        found = rouge(tokens.take(made), tokens.take(written), measures)
        values = [found[m].f1(scorer.rouge_l_power if m == "rougeL" else 1.0) for m in measures]
    mean: NDArray[np.float64] = np.mean(values, axis=0).reshape(count, count)
    return mean


def _scorer_for(dialogue: Dialogue, texts: Sequence[str]) -> Scorer:
    """By words of a-z, or by characters for Chinese and for scripts of which the word scorers would see nothing."""
    letters = [character for character in "".join(texts) if character.isalpha()]
    foreign = 2 * sum(not character.isascii() for character in letters) > len(letters)
    chinese = dialogue.language == "zh" or detect_language("".join(texts)) == "zh"
    return SCORERS["csds" if chinese or foreign else "samsum"]


def _by_checks(dialogue: Dialogue, role: str, texts: Sequence[Generation]) -> int:
    """The text with the fewest faults; of those with as few, the likeliest by its tokens' mean."""
    found = {text: count_flags(dialogue, role, text) for text in {one.text for one in texts}}
    return _best(texts, lambda one: (-found[one.text], _logprob(one)))


def count_flags(dialogue: Dialogue, role: str, text: str) -> int:
    """The flags of the checks (numbers, names, roles, sentences said twice, broken output), and one more for a loop."""
    checked = check_summary(dialogue, role, text)
    repeated, of = checked.counts["repetition"]
    return len(checked.flags) + (repeated > MAX_REPEATED_SHARE * of)


def _by_likelihood(dialogue: Dialogue, role: str, texts: Sequence[Generation]) -> int:
    if all(one.mean_logprob is None for one in texts):
        raise UsageError("this engine gives no log-probabilities to choose by", fix="use --choose mbr or checks")
    return _best(texts, lambda one: (_logprob(one),))


def _logprob(one: Generation) -> float:
    return -np.inf if one.mean_logprob is None else one.mean_logprob


def _best(texts: Sequence[Generation], worth: Callable[[Generation], tuple[float, ...]]) -> int:
    """The number of the first of the best texts. Figures are rounded: sums in another order make no difference."""

    def key(number: int) -> tuple[bool, tuple[float, ...]]:
        return bool(texts[number].text.strip()), tuple(round(figure, 9) for figure in worth(texts[number]))

    return max(range(len(texts)), key=key)
