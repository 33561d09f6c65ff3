"""Corpus BLEU and chrF from the counts of each pair, equal to sacrebleu and ready for the bootstrap.

Papineni et al. 2002 and Popović 2015 as sacrebleu 2.x computes them by default (BLEU: exponential smoothing, no lower
case; chrF: characters 1 to 6, beta 2); tests hold both together.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rolesum.metrics.bootstrap import Floats, Statistic
from rolesum.metrics.ngrams import ngram_overlaps
from rolesum.metrics.tokenizers import Ints, TextTokenizer, TokenizedTexts, characters_without_space

BLEU_ORDER = 4
CHRF_ORDER = 6
BETA = 2.0


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]], tokenize: TextTokenizer) -> Statistic:
    """Corpus BLEU. Several references clip together, by the largest count; the closest length counts."""
    predicted_tokens = tokenize(predictions)
    if all(len(several) == 1 for several in references):
        reference_tokens = tokenize([several[0] for several in references])
        found = ngram_overlaps(predicted_tokens, reference_tokens, BLEU_ORDER)
        correct = np.stack([one.shared for one in found], axis=1)
        lengths = reference_tokens.lengths
    else:
        correct, lengths = _against_several(predicted_tokens, references, tokenize)
    totals = np.stack([np.maximum(predicted_tokens.lengths - order, 0) for order in range(BLEU_ORDER)], axis=1)
    rows = np.concatenate([predicted_tokens.lengths[:, None], lengths[:, None], correct, totals], axis=1)
    return Statistic(rows.astype(float), bleu_from_sums)


def bleu_from_sums(sums: Floats) -> Floats:
    """BLEU of (…, 10): length, reference length, correct 1- to 4-grams, all of them."""
    length, referred = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    with np.errstate(divide="ignore", invalid="ignore"):
        brevity = np.where(length < referred, np.exp(1 - referred / length), 1.0)
        brevity = np.where(length > 0, brevity, 0.0)
        missed = np.cumsum(correct == 0, axis=-1)  # each order without a hit halves the smoothing once more
        precisions = np.where(correct == 0, 100.0 / (2.0**missed * total), 100.0 * correct / total)
        score = brevity * np.exp(np.log(precisions).sum(axis=-1) / BLEU_ORDER)
    usable = (correct > 0).any(axis=-1) & (total > 0).all(axis=-1)
    return np.where(usable, score, 0.0)


def chrf(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Statistic:
    """Corpus chrF2. Of several references each prediction is held against the one that suits it best."""
    counts = [len(several) for several in references]
    predicted_tokens = characters_without_space(predictions).take(np.repeat(np.arange(len(counts)), counts))
    reference_tokens = characters_without_space([one for several in references for one in several])
    columns = []
    for one in ngram_overlaps(predicted_tokens, reference_tokens, CHRF_ORDER):
        columns += [np.where(one.reference_count > 0, one.prediction_count, 0), one.reference_count, one.shared]
    rows = np.stack(columns, axis=1).astype(float)
    if max(counts) > 1:
        scores = chrf_from_sums(rows)
        begins = np.cumsum([0, *counts])
        best = [begin + int(scores[begin:end].argmax()) for begin, end in pairwise(begins)]
        rows = rows[best]
    return Statistic(rows, chrf_from_sums)


def chrf_from_sums(sums: Floats) -> Floats:
    """chrF of (…, 18): for 1- to 6-grams those of the prediction, of the reference, and shared ones."""
    predicted, referred, shared = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    there = (predicted > 0) & (referred > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision = (np.where(there, shared, 0) / np.where(there, predicted, 1)).sum(axis=-1) / orders
    recall = (np.where(there, shared, 0) / np.where(there, referred, 1)).sum(axis=-1) / orders
    weighted = BETA**2 * precision + recall
    # In sacrebleu's order of operations: which of two references is better may hang on the last bit.
    score: Floats = 100 * ((1 + BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1))
    return score


def _against_several(
    predicted_tokens: TokenizedTexts, references: Sequence[Sequence[str]], tokenize: TextTokenizer
) -> tuple[Ints, Ints]:
    """Correct n-grams by pair and order, and the closest reference's length: the shorter one of two as close.

    An n-gram is correct as often as the reference that has most of it has it.
    """
    correct = np.zeros((len(references), BLEU_ORDER), dtype=np.int64)
    lengths = np.zeros(len(references), dtype=np.int64)
    for place, several in enumerate(references):
        reference_tokens = _lists(tokenize(several))
        predicted_ids = predicted_tokens.ids[
            predicted_tokens.starts[place] : predicted_tokens.starts[place + 1]
        ].tolist()
        lengths[place] = min((abs(len(one) - len(predicted_ids)), len(one)) for one in reference_tokens)[1]
        for order in range(BLEU_ORDER):
            counted = [_counts(one, order + 1) for one in reference_tokens]
            correct[place, order] = sum(
                min(count, max(one.get(gram, 0) for one in counted))
                for gram, count in _counts(predicted_ids, order + 1).items()
            )
    return correct, lengths


def _lists(tokens: TokenizedTexts) -> list[list[int]]:
    return [tokens.ids[begin:end].tolist() for begin, end in pairwise(tokens.starts)]


def _counts(tokens: list[int], order: int) -> dict[tuple[int, ...], int]:
    found: dict[tuple[int, ...], int] = {}
    for begin in range(len(tokens) - order + 1):
        gram = tuple(tokens[begin : begin + order])
        found[gram] = found.get(gram, 0) + 1
    return found
