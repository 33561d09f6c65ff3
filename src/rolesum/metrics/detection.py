"""How well a score tells positives from negatives: area under the ROC curve, precision and recall."""

import numpy as np
from numpy.typing import ArrayLike

from rolesum.metrics.bootstrap import Floats, Statistic, draw_resamples, percentile_interval, ratio


def auroc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """The probability that a positive scores above a negative, ties counted half: the area under the ROC curve.

    `positives` and `negatives` are the scores of the two groups, (n,) and (m,). NaN where a group is empty.
    Source: Hanley and McNeil 1982.
    """
    above, below = np.asarray(positives, dtype=float), np.sort(np.asarray(negatives, dtype=float))
    if not above.size or not below.size:
        return float("nan")
    lower, upper = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    return float((lower + upper).sum() / (2 * above.size * below.size))


def auroc_interval(scores: ArrayLike, is_positive: ArrayLike, groups: ArrayLike) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of the AUROC; None where no resample has positives and negatives.

    `scores`, `is_positive` and `groups` are (n,); the groups, numbered from 0, are resampled with all their scores.
    """
    order = np.argsort(np.asarray(scores, dtype=float), kind="stable")
    sorted_scores = np.asarray(scores, dtype=float)[order]
    group, positive = np.asarray(groups)[order], np.asarray(is_positive, dtype=float)[order]
    starts = np.flatnonzero(np.r_[True, sorted_scores[1:] > sorted_scores[:-1]])  # of each score that occurs
    found = []
    for counts in draw_resamples(int(group.max()) + 1, width=4 * len(order)):
        weights = counts[:, group]  # (resamples, n)
        above = np.add.reduceat(weights * positive, starts, axis=1)  # (resamples, scores that occur)
        below = np.add.reduceat(weights * (1 - positive), starts, axis=1)
        in_order = (above * (np.cumsum(below, axis=1) - below / 2)).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(in_order / (above.sum(axis=1) * below.sum(axis=1)))
    return percentile_interval(np.concatenate(found))


def decision_statistics(is_called: ArrayLike, is_positive: ArrayLike, groups: ArrayLike) -> dict[str, Statistic]:
    """Of decisions (n,): balanced_accuracy, precision, recall and false_positive_rate, from 0 to 1.

    The groups, numbered from 0, are the rows that are resampled. A figure without cases is NaN.
    """
    called, positive = np.asarray(is_called, dtype=float), np.asarray(is_positive, dtype=float)
    group = np.asarray(groups)

    def by_group(values: Floats) -> Floats:
        return np.bincount(group, values).astype(float)

    hits, positives = by_group(called * positive), by_group(positive)
    false_alarms, negatives = by_group(called * (1 - positive)), by_group(1 - positive)

    def balanced(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (sums[..., 0] / sums[..., 1] + 1 - sums[..., 2] / sums[..., 3]) / 2

    rows = np.stack([hits, positives, false_alarms, negatives], axis=1)
    return {
        "balanced_accuracy": Statistic(rows, balanced),
        "precision": ratio(hits, hits + false_alarms, 1.0),
        "recall": ratio(hits, positives, 1.0),
        "false_positive_rate": ratio(false_alarms, negatives, 1.0),
    }


def best_threshold(positives: ArrayLike, negatives: ArrayLike) -> float:
    """The threshold with the highest balanced accuracy, where a score at or above it is called positive.

    Of equally good ones the lowest; it lies midway between two scores that occur. Raises ValueError for an empty group.
    """
    above, below = np.asarray(positives, dtype=float), np.asarray(negatives, dtype=float)
    if not above.size or not below.size:
        raise ValueError("a threshold needs scores of both groups")
    values = np.unique(np.concatenate([above, below]))
    tried = np.concatenate([[values[0]], (values[1:] + values[:-1]) / 2])
    accuracy = [np.mean(above >= one) + np.mean(below < one) for one in tried]
    return float(tried[int(np.argmax(accuracy))])
