"""Reranking: picking one of several sampled texts by agreement (MBR), by the checks, or by likelihood."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from rolesum.checks import check_summary
from rolesum.dialogue import Dialogue, detect_language
from rolesum.errors import UsageError, did_you_mean
from rolesum.generation.engine import Generation
from rolesum.metrics.scorers import SCORERS, Scorer, get_scorer, pairwise_rouge_f1

# Picks one of several texts for a role of a dialogue, by its number.
Reranker = Callable[[Dialogue, str, Sequence[Generation]], int]

# Name -> what it picks. "mbr" may name a scorer: mbr:samsum.
RERANKERS = {
    "mbr": "the text that is most like the others by ROUGE (minimum Bayes risk); mbr:SCORER names the scorer",
    "checks": "the text with the fewest flags of the model-free checks",
    "likeliest": "the text with the highest mean log-probability of its tokens",
}

# A text of which a larger share of 4-grams is repeated is counted as a loop. None of 300 references of SAMSum and of
# 450 of CSDS repeats a fifth of its 4-grams.
MAX_REPEATED_SHARE = 0.25


def get_reranker(name: str) -> Reranker:
    """The reranker of that name. Raises UsageError for an unknown one.

    Of texts that are equally good it picks the first; one without words only where no text has any.
    """
    kind, _, scorer = name.partition(":")
    if kind not in RERANKERS or (scorer and kind != "mbr"):
        known = [*RERANKERS, *(f"mbr:{one}" for one in SCORERS)]
        raise UsageError(f'unknown choice "{name}"', fix=did_you_mean(name, known))
    if kind == "mbr":
        return partial(_by_agreement, get_scorer(scorer) if scorer else None)
    return _by_checks if kind == "checks" else _by_likelihood


def _by_agreement(scorer: Scorer | None, dialogue: Dialogue, role: str, texts: Sequence[Generation]) -> int:
    """The text with the highest mean ROUGE F1 to the others.

    Minimum Bayes risk (Kumar and Byrne 2004) with samples instead of the n-best list (Eikema and Aziz 2020).
    """
    counts = Counter(one.text for one in texts)
    different = list(counts)
    similarity = pairwise_rouge_f1(scorer or _scorer_for(dialogue, different), different)
    weights = np.array([counts[text] for text in different])
    # Equal texts count as often as they were sampled, but no text counts for itself.
    gain = dict(zip(different, similarity @ weights - np.diag(similarity), strict=True))
    return best_text(texts, lambda one: (gain[one.text],))


def _scorer_for(dialogue: Dialogue, texts: Sequence[str]) -> Scorer:
    """A scorer of words, or of characters for Chinese and for scripts that the word scorers do not read."""
    letters = [character for character in "".join(texts) if character.isalpha()]
    foreign = 2 * sum(not character.isascii() for character in letters) > len(letters)
    chinese = dialogue.language == "zh" or detect_language("".join(texts)) == "zh"
    return SCORERS["csds" if chinese or foreign else "samsum"]


def _by_checks(dialogue: Dialogue, role: str, texts: Sequence[Generation]) -> int:
    """The text with the fewest flags; of those with equally few, the one with the highest mean log-probability."""
    found = {text: count_flags(dialogue, role, text) for text in {one.text for one in texts}}
    return best_text(texts, lambda one: (-found[one.text], _logprob(one)))


def count_flags(dialogue: Dialogue, role: str, text: str) -> int:
    """Flags of the checks (numbers, names, roles, repeated sentences, broken output), plus 1 for a loop."""
    checked = check_summary(dialogue, role, text)
    repeated, of = checked.counts["repetition"]
    return len(checked.flags) + (repeated > MAX_REPEATED_SHARE * of)


def _by_likelihood(dialogue: Dialogue, role: str, texts: Sequence[Generation]) -> int:
    if all(one.mean_logprob is None for one in texts):
        raise UsageError("this engine gives no log-probabilities to choose by", fix="use --choose mbr or checks")
    return best_text(texts, lambda one: (_logprob(one),))


def _logprob(one: Generation) -> float:
    return -np.inf if one.mean_logprob is None else one.mean_logprob


def best_text(texts: Sequence[Generation], value: Callable[[Generation], tuple[float, ...]]) -> int:
    """The number of the first of the best texts. Values are rounded, so that the order of a sum makes no difference."""

    def key(number: int) -> tuple[bool, tuple[float, ...]]:
        return bool(texts[number].text.strip()), tuple(round(one, 9) for one in value(texts[number]))

    return max(range(len(texts)), key=key)
