"""ROUGE of many pairs at once, equal to the package rouge-score.

Lin 2004, as the package rouge-score 0.1.2 computes it; tests hold both together to 1e-9 on random texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rolesum.metrics.lcs import lcs_lengths, lcs_marks
from rolesum.metrics.ngrams import PairedNgrams
from rolesum.metrics.tokenizers import Ints, TokenizedTexts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rouge:
    """Precision and recall by pair, 0 to 1."""

    precision: Floats
    recall: Floats

    def f1(self, power: float = 1.0) -> Floats:
        """The harmonic mean, 0 where both are; of precision and recall to the `power`, as py-rouge has it."""
        precision, recall = self.precision**power, self.recall**power
        total = precision + recall
        return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def rouge(predictions: TokenizedTexts, references: TokenizedTexts, measures: Sequence[str]) -> dict[str, Rouge]:
    """The measures rouge1 to rouge9, rougeL and rougeLsum (over the texts' lines) of text i with text i."""
    grams = PairedNgrams(predictions, references)
    found: dict[str, Rouge] = {}
    orders = [int(measure[5:]) for measure in measures if measure[5:].isdigit()]
    of_orders = grams.overlaps(max(orders, default=0))
    for measure in measures:
        if measure == "rougeL":
            found[measure] = _over_lengths(_whole_texts(grams), predictions, references)
        elif measure == "rougeLsum":
            found[measure] = _over_lengths(_by_lines(grams), predictions, references)
        else:
            overlap = of_orders[int(measure[5:]) - 1]
            found[measure] = Rouge(
                overlap.shared / np.maximum(overlap.prediction_count, 1),
                overlap.shared / np.maximum(overlap.reference_count, 1),
            )
    return found


def _over_lengths(hits: Ints, predictions: TokenizedTexts, references: TokenizedTexts) -> Rouge:
    return Rouge(hits / np.maximum(predictions.lengths, 1), hits / np.maximum(references.lengths, 1))


def _whole_texts(grams: PairedNgrams) -> Ints:
    predictions, references = grams.sides
    return lcs_lengths(grams.ids[0], predictions.starts, grams.ids[1], references.starts)


def _by_lines(grams: PairedNgrams) -> Ints:
    """Hits of the summary-level ROUGE-L: the union LCS of each reference line with all lines of the prediction.

    A token counts as often as the prediction has it at most. Texts of one line each need no marks.
    """
    predictions, references = grams.sides
    prediction_lines, reference_lines = (np.diff(tokens.text_starts) for tokens in grams.sides)
    hits = np.zeros(len(prediction_lines), dtype=np.int64)
    single = np.flatnonzero((prediction_lines == 1) & (reference_lines == 1))
    if len(single):
        hits[single] = _whole_texts(PairedNgrams(predictions.take(single), references.take(single)))
    several = np.flatnonzero((prediction_lines != 1) | (reference_lines != 1))
    if not len(several):
        return hits
    if len(single):
        predictions, references = predictions.take(several), references.take(several)
        grams, prediction_lines, reference_lines = (
            PairedNgrams(predictions, references),
            prediction_lines[several],
            reference_lines[several],
        )
    # Every line of the reference with every line of the prediction.
    crossed = prediction_lines * reference_lines
    pair = np.repeat(np.arange(len(prediction_lines)), crossed)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(crossed) - crossed, crossed)
    of_prediction = predictions.text_starts[pair] + within % prediction_lines[pair]
    of_reference = references.text_starts[pair] + within // prediction_lines[pair]
    made_tokens, made_starts = _lines(predictions, of_prediction)
    written_tokens, written_starts = _lines(references, of_reference)
    marks = np.zeros(len(references.ids), dtype=bool)
    found = lcs_marks(
        grams.ids[0][made_tokens], made_starts, grams.ids[1][written_tokens], written_starts, written_tokens
    )
    marks[: len(found)] = found
    hits[several] = grams.shared_with_marked(marks)
    return hits


def _lines(tokens: TokenizedTexts, lines: Ints) -> tuple[Ints, Ints]:
    """The places of the lines' tokens, one line after the other, and where each line's begin."""
    lengths = tokens.line_starts[lines + 1] - tokens.line_starts[lines]
    begins = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(begins[-1]) + np.repeat(tokens.line_starts[lines] - begins[:-1], lengths), begins
